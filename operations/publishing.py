"""Publishing one event from outside, in the name of an operator."""

from events.catalogue import Event
from events.encoded import EncodedEvent
from operations.broker_session import broker_session
from operations.errors import CommandFailed
from saga.messaging.message import Message, to_message
from saga.rabbitmq.errors import Unroutable


async def send(amqp_url: str, event: Event) -> Message:
    """Publish a complete event, and wait until the broker has it and a service will get it.

    Raises:
        CommandFailed: the broker or the exchange is missing, or no queue takes the event.
    """
    message = to_message(EncodedEvent.of(event))
    async with broker_session(amqp_url, "; publishing the event again is safe") as session:
        try:
            await session.publish(message)
        except Unroutable:
            raise CommandFailed(
                f"no queue takes {event.type} from {message.exchange}: is the stack up? "
                f"{' and '.join(event.handled_by)} must have been started once"
            ) from None
    return message

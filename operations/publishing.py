"""Publishing one event from outside, in the name of an operator."""

import asyncio

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity, DeliveryError

from events.catalogue import Event
from operations.errors import CommandFailed
from operations.event_tap import connected, missing_exchange
from saga.messaging.message import Message, to_message
from saga.messaging.users import user_of
from saga.rabbitmq.rpc import explain_rejection

CONFIRM_SECONDS = 10.0


async def send(amqp_url: str, event: Event) -> Message:
    """Publish a complete event, and wait until the broker has it and a service will get it.

    Raises:
        CommandFailed: the broker or the exchange is missing, or no queue takes the event.
    """
    message = to_message(event)
    async with connected(amqp_url) as channel:
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                exchange = await channel.get_exchange(message.exchange)
                await exchange.publish(
                    as_amqp(message, amqp_url), message.routing_key, mandatory=message.mandatory
                )
        except ChannelNotFoundEntity:
            raise CommandFailed(missing_exchange(message.exchange)) from None
        except DeliveryError:
            raise CommandFailed(
                f"no queue takes {event.type} from {message.exchange}: is the stack up? "
                f"{' and '.join(event.handled_by)} must have been started once"
            ) from None
        except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
            raise CommandFailed(
                explain_rejection(error)
                or f"the broker did not confirm the event ({error}); publishing it again is safe"
            ) from None
    return message


def as_amqp(message: Message, amqp_url: str) -> aio_pika.Message:
    """Return a message in the client library's form, persistent, in the name of who logs in with this URL."""
    return aio_pika.Message(
        message.body,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        type=message.type,
        timestamp=message.timestamp,
        app_id=message.app_id,
        user_id=user_of(amqp_url),
        headers=dict(message.headers),
    )

"""A tap on the services' exchanges that outlives the broker: a durable queue, read when a test asks."""

from collections import defaultdict
from collections.abc import Collection

from aio_pika.abc import AbstractChannel

from events.catalogue import SERVICES, Event
from events.codec import decode
from operations.event_tap import LAST_EVENTS
from saga.messaging.topology import exchange_of
from saga.rabbitmq.connection import connect
from tests.support.broker import until

QUEUE = "tap"


class DurableTap:
    """Keeps every event of every saga, by order, as often as it was published."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._events: defaultdict[str, list[Event]] = defaultdict(list)

    async def declare(self) -> None:
        """Bind the queue; the services' exchanges must exist."""
        async with await connect(self._url, "test tap") as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
            for service in SERVICES:
                await queue.bind(exchange_of(service), "#")

    async def events_of(self, order_id: str, types: Collection[str] = ()) -> list[Event]:
        """Return every event of an order; wait for the one that ends it, and for events of these types.

        A broker that dies can keep an event in one of two queues: this one then gets it when it is published
        again, possibly after what followed from it.
        """

        def complete() -> bool:
            return self._ended(order_id) and {event.type for event in self._events[order_id]} >= set(types)

        async def completed() -> bool:
            if not complete():
                await self._take()
            return complete()

        await until(completed, f"the last event of the order {order_id} has come, and {', '.join(types)}")
        return self._events[order_id]

    def _ended(self, order_id: str) -> bool:
        return any(event.type in LAST_EVENTS for event in self._events[order_id])

    async def _take(self) -> None:
        async with await connect(self._url, "test tap") as connection:
            await self._take_all(await connection.channel())

    async def _take_all(self, channel: AbstractChannel) -> None:
        queue = await channel.get_queue(QUEUE, ensure=False)
        while message := await queue.get(no_ack=True, fail=False):
            event = decode(message.body)
            self._events[event.order_id].append(event)

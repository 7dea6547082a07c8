"""A service that confirms requests, in the test's own process, and what the tests do with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from events.catalogue import (
    INVENTORY,
    ORDER,
    Event,
    InventoryConfirmationRequested,
    InventoryConfirmed,
)
from events.codec import encode
from events.encoded import EncodedEvent
from events.identity import derived_id
from saga import metrics
from saga.clock import utc_now
from saga.messaging.consumer import BatchConsumer
from saga.messaging.results import Handled, Handler, Result
from saga.messaging.topology import Topology
from saga.rabbitmq.client import BrokerClient
from tests.support.broker import Broker, Client, until

SERVICE = Topology(
    INVENTORY,
    reacts_to=["InventoryConfirmationRequested"],
    publishes=["InventoryConfirmed"],
    delays=(0.05, 0.1),
)
ASKER = Topology(ORDER, reacts_to=["InventoryConfirmed"], publishes=["InventoryConfirmationRequested"])
KEY = "InventoryConfirmationRequested.o-1"


def request(order_id: str = "o-1", event_id: str | None = None) -> InventoryConfirmationRequested:
    return InventoryConfirmationRequested(
        event_id=event_id or uuid4().hex,
        correlation_id=order_id,
        occurred_at=utc_now(),
        order_id=order_id,
    )


def answer(event: Event) -> EncodedEvent:
    confirmed = InventoryConfirmed(
        event_id=derived_id(str(event.event_id), "InventoryConfirmed"),
        correlation_id=event.correlation_id,
        causation_id=event.event_id,
        occurred_at=utc_now(),
        order_id=event.order_id,
    )
    return EncodedEvent.of(confirmed)


class Confirming:
    """A handler that answers every request, and remembers the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []

    @property
    def handled(self) -> list[str]:
        return [event.order_id for batch in self.batches for event in batch]

    async def __call__(self, events: Sequence[Event]) -> Sequence[Result]:
        self.batches.append(list(events))
        return [Handled([answer(event)]) for event in events]


async def always_available() -> None:
    return None


@asynccontextmanager
async def serving(
    broker: Broker,
    handle: Handler,
    available: Callable[[], Awaitable[None]] = always_available,
    topology: Topology = SERVICE,
    url: str | None = None,
    **options: float,
) -> AsyncIterator[BrokerClient]:
    """A service that handles its events with this handler, until the block ends."""
    settings: dict[str, Any] = {"drain_timeout": 5.0, **options}
    service = BrokerClient(url or broker.url, topology, **settings)
    consumers = [
        BatchConsumer(topology, handle, available, quarantined=quarantined) for quarantined in (False, True)
    ]
    running = asyncio.create_task(service.run(consumers))
    try:
        yield service
    finally:
        await service.stop()
        await asyncio.wait_for(running, 10)


async def ask(client: Client, *events: Event) -> None:
    await asyncio.gather(
        *(
            client.publish(
                "order.events",
                f"{event.type}.{event.correlation_id}",
                encode(event),
                message_id=event.event_id,
            )
            for event in events
        )
    )


async def declare_service(client: Client) -> None:
    """Let messages wait for a service that does not run yet."""
    await (await client.stand_in_for(SERVICE)).bind()


async def until_reading(service: BrokerClient) -> None:
    await until(lambda: service.reading, "the service reads its queues")


async def until_depth(client: Client, queue: str, depth: int) -> None:
    async def there() -> bool:
        return await client.depth(queue) == depth

    await until(there, f"{depth} messages in {queue}")


async def crash_while_reading(broker: Broker, queue: str, times: int) -> None:
    """Take a message and lose the connection. (Requeueing does not count on RabbitMQ 4.3.)"""
    for _ in range(times):
        async with broker.connected() as reader:
            await reader.get(queue)


def quarantined_so_far() -> float:
    """Return how many messages this process has quarantined so far."""
    return float(metrics.quarantined(INVENTORY)._value.get())

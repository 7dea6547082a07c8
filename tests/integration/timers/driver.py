"""Replicas of a service whose timers the test moves, on a real broker and database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

from events.catalogue import INVENTORY, ORDER, PAYMENT, Event, InventoryReservationRequested
from events.values import Item
from order_service.application import OrderApplication
from order_service.mongo_store import OrderStore
from payment_service.application import PaymentApplication
from payment_service.mongo_store import PaymentStore
from payment_service.providers.base import Provider
from payment_service.reactions import Retries
from saga.messaging.consumer import BatchConsumer
from saga.messaging.message import Message
from saga.messaging.publisher import BacklogAwarePublisher
from saga.messaging.results import Handled, Result
from saga.mongodb.aggregates import PlainStore
from saga.mongodb.client import connect, database
from saga.rabbitmq.client import BrokerClient
from saga.reactions.application import Application, Surroundings
from saga.reactions.cache import PublishedEvents
from saga.reactions.unit_of_work import LoadedAggregate, Patience
from saga.timers.nudge import Nudge
from saga.timers.relay import Relay
from saga.timers.wake_ups import WakeUps
from tests.support.broker import Client, Neighbour, until
from tests.support.clock import Clock
from tests.support.services import TOPOLOGIES

PATIENCE = Patience()
RELAY_AFTER = PATIENCE.relay.total_seconds()
NUDGE_AFTER = PATIENCE.nudge.total_seconds()
DEADLINE = 900
"""Seconds after which an undecided order is given up."""

Build = Callable[[PlainStore[Any], Surroundings], Application[Any, Any]]


class Stores:
    """Makes stores that share one database, as the replicas of a service do."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._client = connect(url)
        self._clock = clock
        self._name = f"test_{uuid4().hex[:12]}"

    def orders(self) -> OrderStore:
        """Return a store of orders."""
        return OrderStore(database(self._client, self._name)["orders"], self._clock)

    def payments(self) -> PaymentStore:
        """Return a store of payments."""
        return PaymentStore(database(self._client, self._name)["payments"], self._clock)

    def close(self) -> None:
        """Close all of them."""
        self._client.close()


class Replica:
    """The timers and the application of one process, without HTTP API and consumers."""

    def __init__(
        self,
        service: str,
        store: PlainStore[Any],
        publisher: BacklogAwarePublisher,
        clock: Clock,
        build: Build,
    ) -> None:
        published = PublishedEvents()
        self.store = store
        self.relay = Relay(service, publisher, published)
        self.application = build(store, Surroundings(clock, self.relay.hand_over, published, PATIENCE))
        nudge = Nudge(service, publisher, store, clock, PATIENCE)
        self.wake_ups = WakeUps(self.application, publisher, self.relay, nudge, clock)

    async def entry(self, order_id: str) -> LoadedAggregate[Any]:
        """Return what is stored of an order."""
        return (await self.store.fetch([order_id]))[order_id]

    async def state(self, order_id: str) -> Any:
        """Return the state of an order, which exists."""
        state = (await self.entry(order_id)).state
        assert state is not None
        return state

    async def unpublished(self, order_id: str) -> list[str]:
        """Return the types of the events that are stored as unpublished."""
        return [event.type for event in (await self.entry(order_id)).unpublished]


class OrderReplica(Replica):
    """One process of the order service."""

    def __init__(self, stores: Stores, publisher: BacklogAwarePublisher, clock: Clock) -> None:
        super().__init__(ORDER, stores.orders(), publisher, clock, OrderApplication)

    async def place(self, count: int = 1) -> list[str]:
        """Place orders; return their ids."""
        ids = [uuid4().hex for _ in range(count)]
        assert isinstance(self.application, OrderApplication)
        await asyncio.gather(*(self.application.place(order(order_id)) for order_id in ids))
        return ids

    async def cancel(self, order_id: str) -> None:
        """Cancel an order."""
        assert isinstance(self.application, OrderApplication)
        await self.application.cancel(await self.state(order_id))


class PaymentReplica(Replica):
    """One process of the payment service."""

    def __init__(
        self, stores: Stores, publisher: BacklogAwarePublisher, clock: Clock, provider: Provider
    ) -> None:
        def build(store: PlainStore[Any], around: Surroundings) -> PaymentApplication:
            return PaymentApplication(store, around, provider, 1.0, Retries(attempts=1))

        super().__init__(PAYMENT, stores.payments(), publisher, clock, build)


def order(order_id: str) -> InventoryReservationRequested:
    return InventoryReservationRequested(
        order_id=order_id,
        user_id="u-1",
        items=(Item(product_id="tea", quantity=2),),
        total_amount=Decimal("25.00"),
    )


@dataclass
class Watched:
    """A publisher that runs something just before it publishes, once the test has set that."""

    inner: BacklogAwarePublisher
    before: Callable[[], Awaitable[object]] | None = None

    async def send(self, messages: Sequence[Message]) -> None:
        """See `saga.messaging.publisher.Publisher`."""
        if self.before:
            await self.before()
        await self.inner.send(messages)

    async def check(self) -> None:
        """See `saga.messaging.publisher.Publisher`."""
        await self.inner.check()

    async def backlog(self) -> int:
        """See `saga.messaging.publisher.BacklogAwarePublisher`."""
        return await self.inner.backlog()


@asynccontextmanager
async def connected(url: str, service: str) -> AsyncIterator[BrokerClient]:
    """A service's link to the broker, by which nothing comes in that changes anything."""
    topology = TOPOLOGIES[service]
    rabbit = BrokerClient(url, topology, publish_timeout=5)
    running = asyncio.create_task(rabbit.run([BatchConsumer(topology, pass_over, always_available)]))
    try:
        await until(lambda: rabbit.reading, "the service is connected")
        yield rabbit
    finally:
        await rabbit.stop()
        await asyncio.wait_for(running, 10)


@asynccontextmanager
async def in_background(*loops: Awaitable[None]) -> AsyncIterator[None]:
    """Run loops until the block ends."""
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def pass_over(events: Sequence[Event]) -> Sequence[Result]:
    return [Handled() for _ in events]


async def always_available() -> None:
    return None


class Neighbours:
    """The other two services: what they were sent."""

    def __init__(self, client: Client, neighbours: dict[str, Neighbour]) -> None:
        self._client = client
        self._neighbours = neighbours

    async def received(self, service: str = INVENTORY) -> list[tuple[str, str]]:
        """Return type and order id of all that one of them was sent since the last time."""
        waiting = range(await self._client.depth(TOPOLOGIES[service].queue))
        events = [await self._neighbours[service].receive() for _ in waiting]
        return [(event.type, event.order_id) for event in events]

    async def receive(self, service: str = INVENTORY) -> Event:
        """Return the next event that one of them is sent."""
        return await self._neighbours[service].receive()

"""The relay on a real broker and database: saved events are published, whatever crashes or is unavailable."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from events.catalogue import ORDER, PAYMENT, Event, PaymentCompleted
from events.codec import to_json
from events.identity import with_identity
from local_stack.proxy import proxy_to
from payment_service.mongo_store import PaymentStore
from payment_service.payment import Payment
from saga.clock import utc_now
from saga.errors import Unavailable
from saga.messaging.consumer import BatchConsumer
from saga.messaging.results import Result
from saga.messaging.topology import Topology
from saga.mongodb.client import connect, database
from saga.rabbitmq.client import BrokerClient
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate
from saga.timers.relay import Relay
from tests.support.broker import Broker, Client, Neighbour, until

SERVICE = Topology(PAYMENT, reacts_to=["PaymentRequested"], publishes=["PaymentCompleted"])
LISTENER = Topology(ORDER, reacts_to=["PaymentCompleted"], publishes=["PaymentRequested"])
NEVER = 3600.0
"""A `relay_after`, in seconds, that no test waits for."""


class Stores:
    """Makes stores that share one collection, as the replicas of a service do."""

    def __init__(self, url: str) -> None:
        self._client = connect(url)
        self._name = f"test_{uuid4().hex[:12]}"

    def open(self) -> PaymentStore:
        """Return a store of its own."""
        return PaymentStore(database(self._client, self._name)["payments"], Payment, utc_now)

    def close(self) -> None:
        """Close all of them."""
        self._client.close()


@pytest.fixture
def stores(mongodb_url: str) -> Iterator[Stores]:
    stores = Stores(mongodb_url)
    yield stores
    stores.close()


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[Client]:
    async with broker.connected() as client:
        yield client


@pytest.fixture
async def listener(client: Client) -> Neighbour:
    """The order service's place at the broker."""
    listener = await client.stand_in_for(LISTENER)
    await client.channel.declare_exchange(SERVICE.exchange, "topic", durable=True)
    await listener.bind()
    return listener


@asynccontextmanager
async def sending(url: str) -> AsyncIterator[BrokerClient]:
    """A service's link to the broker, by which nothing comes in."""
    rabbit = BrokerClient(url, SERVICE, publish_timeout=5)
    running = asyncio.create_task(rabbit.run([BatchConsumer(SERVICE, handle_nothing, all_available)]))
    try:
        await until(lambda: rabbit.reading, "the service is connected")
        yield rabbit
    finally:
        await rabbit.stop()
        await asyncio.wait_for(running, 10)


@asynccontextmanager
async def working(relay: Relay) -> AsyncIterator[Relay]:
    """A relay that runs until the block ends."""
    running = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def handle_nothing(events: Sequence[Event]) -> Sequence[Result]:
    raise AssertionError(events)


async def all_available() -> None:
    return None


async def save(store: PaymentStore, count: int = 1) -> list[Event]:
    """Save payments whose events wait for the relay; return the events."""
    entries = [completed(uuid4().hex) for _ in range(count)]
    events = [event for _, event in entries]
    assert await store.write([entry for entry, _ in entries]) == set()
    return events


def completed(order_id: str) -> tuple[LoadedAggregate[Payment], Event]:
    """Return a payment that was made directly, and the event that says so."""
    [event] = with_identity(
        [PaymentCompleted(order_id=order_id, payment_id=order_id, amount=Decimal(1), currency="USD")],
        record_id=f"made-{order_id}",
        caused_by=None,
        correlation_id=order_id,
        occurred_at=utc_now(),
    )
    payment = Payment(
        order_id=order_id,
        correlation_id=order_id,
        status="charged",
        amount=Decimal(1),
        currency="USD",
        idempotency_key=f"order-{order_id}",
        refunded_amount=Decimal(0),
    )
    record = JournalEntry("made", utc_now(), [to_json(event)])
    entry = LoadedAggregate(
        order_id, state=payment, journal={"made": record}, changed=["made"], queued=[str(event.event_id)]
    )
    return entry, event


async def received(listener: Neighbour, events: Sequence[Event]) -> None:
    """Wait until every one of these events has arrived, whatever else did."""
    missing = {event.event_id for event in events}
    async with asyncio.timeout(20):
        while missing:
            missing.discard((await listener.receive()).event_id)


async def nothing_waits(store: PaymentStore) -> None:
    """Wait until the outbox is empty."""

    async def empty() -> bool:
        return not await store.unpublished(utc_now() + timedelta(days=1), 1)

    await until(empty, "nothing waits for the relay any more")


async def test_a_handed_over_event_is_published_at_once(
    broker: Broker, stores: Stores, client: Client, listener: Neighbour
) -> None:
    store = stores.open()
    async with (
        sending(broker.url) as rabbit,
        working(Relay(PAYMENT, rabbit, store, utc_now, NEVER)) as relay,
    ):
        for _ in range(3):
            [event] = await save(store)
            relay.hand_over([event])
            assert await listener.receive_a(PaymentCompleted, event.order_id) == event
        await nothing_waits(store)
    assert await client.depth(ORDER) == 0


async def test_events_of_a_dead_process_are_published_by_the_sweep(
    broker: Broker, stores: Stores, client: Client, listener: Neighbour
) -> None:
    events = await save(stores.open(), 3)
    async with (
        sending(broker.url) as rabbit,
        working(Relay(PAYMENT, rabbit, stores.open(), utc_now, relay_after=0.3)),
    ):
        await received(listener, events)
        await nothing_waits(stores.open())
    assert await client.depth(ORDER) == 0


async def test_no_event_is_swept_before_relay_after(
    broker: Broker, stores: Stores, client: Client, listener: Neighbour
) -> None:
    now = utc_now()
    store = stores.open()
    [event] = await save(store)
    async with sending(broker.url) as rabbit:
        relay = Relay(PAYMENT, rabbit, store, lambda: now, relay_after=60)
        now += timedelta(seconds=59)
        await relay.sweep()
        assert await client.depth(ORDER) == 0
        now += timedelta(seconds=2)
        await relay.sweep()
        assert await listener.receive_a(PaymentCompleted, event.order_id) == event


async def test_a_published_event_is_not_published_again(
    broker: Broker, stores: Stores, client: Client, listener: Neighbour
) -> None:
    now = utc_now() + timedelta(hours=1)
    store = stores.open()
    async with sending(broker.url) as rabbit:
        relay = Relay(PAYMENT, rabbit, store, lambda: now)
        at_once, left_over = await save(store, 2)
        relay.hand_over([at_once])
        await relay.publish_handed_over()
        for _ in range(3):
            await relay.publish_handed_over()
            await relay.sweep()
        await Relay(PAYMENT, rabbit, stores.open(), lambda: now).sweep()
    assert await client.depth(ORDER) == 2
    await received(listener, [at_once, left_over])


async def test_a_broker_outage_loses_no_event(
    broker: Broker, stores: Stores, client: Client, listener: Neighbour
) -> None:
    store = stores.open()
    port = urlsplit(broker.url).port or 0
    async with (
        proxy_to(port) as network,
        sending(broker.url.replace(f":{port}", f":{network.port}")) as rabbit,
        working(Relay(PAYMENT, rabbit, store, utc_now, relay_after=0.3)) as relay,
    ):
        await network.refuse()
        away = await save(store, 20)
        relay.hand_over(away[:10])
        with pytest.raises(Unavailable):
            await relay.publish_handed_over()
        assert await client.depth(ORDER) == 0
        await network.heal()
        await received(listener, away)
        [event] = await save(store)
        relay.hand_over([event])
        await received(listener, [event])
        await nothing_waits(store)


async def test_an_event_with_an_unrecorded_confirm_is_published_again(
    broker: Broker, stores: Stores, client: Client, listener: Neighbour
) -> None:
    class Forgetful(PaymentStore):
        """Loses its connection to the database just after the broker has confirmed."""

        async def mark_published(self, events: object) -> None:
            raise Unavailable("the database is down")

    store = stores.open()
    [event] = await save(store)
    async with sending(broker.url) as rabbit:
        forgetful = Forgetful(store.collection, Payment, utc_now)
        async with working(Relay(PAYMENT, rabbit, forgetful, utc_now, relay_after=0.2)) as relay:
            relay.hand_over([event])
            for _ in range(2):
                assert await listener.receive_a(PaymentCompleted, event.order_id) == event


async def test_two_relays_on_one_outbox_lose_nothing(
    broker: Broker, stores: Stores, client: Client, listener: Neighbour
) -> None:
    async with sending(broker.url) as one, sending(broker.url) as other:
        first, second = stores.open(), stores.open()
        left_over = await save(first, 100)
        async with (
            working(Relay(PAYMENT, one, first, utc_now, relay_after=0.2)) as relay,
            working(Relay(PAYMENT, other, second, utc_now, relay_after=0.2)) as rival,
        ):
            handed_over = []
            for store, target in ((first, relay), (second, rival)):
                events = await save(store, 50)
                target.hand_over(events)
                handed_over += events
            await received(listener, [*left_over, *handed_over])
            await nothing_waits(stores.open())


async def test_events_beyond_the_hand_over_limit_are_swept(
    broker: Broker, stores: Stores, client: Client, listener: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga.timers.relay.HANDED_OVER_LIMIT", 5)
    monkeypatch.setattr("saga.timers.relay.SWEEP_LIMIT", 4)
    store = stores.open()
    events = await save(store, 12)
    async with (
        sending(broker.url) as rabbit,
        working(Relay(PAYMENT, rabbit, store, utc_now, relay_after=0.2)) as relay,
    ):
        relay.hand_over(events[:5])
        relay.hand_over(events[5:])
        await received(listener, events)
        await nothing_waits(store)

"""The stores on a real database: guarded writes, the journal, the outbox, and stock in transactions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from events.catalogue import (
    Event,
    InventoryConfirmed,
    InventoryReservationRequested,
    InventoryReserved,
    PaymentRequested,
)
from events.codec import to_json
from events.identity import with_identity
from events.types import Money, Timestamp
from events.values import Item, Location
from inventory_service.application import InventoryApplication
from inventory_service.mongo_store import InventoryStore
from inventory_service.reactions import ReservationContext
from inventory_service.reservation import Reservation
from inventory_service.stock import Stock, StockMove, Warehouse
from inventory_service.unit_of_work import ReservationUnitOfWork
from order_service.mongo_store import OrderStore
from order_service.order import Order
from payment_service.mongo_store import PaymentStore
from payment_service.payment import Payment
from saga.clock import utc_now
from saga.errors import Unavailable
from saga.messaging.message import Message
from saga.messaging.results import Deferred, Handled
from saga.mongodb.aggregates import Aggregates, PlainStore
from saga.mongodb.client import Database, connect, database
from saga.reactions.aggregate import Aggregate
from saga.reactions.step import JournalEntry, LoadedAggregate, Step
from saga.reactions.store import Document
from tests.support.broker import until
from tests.support.services import database_server

START = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
HOLD = timedelta(minutes=10)
NOBODY = "mongodb://127.0.0.1:9/?directConnection=true"


class SampleAggregate(Aggregate):
    """An aggregate with everything that is hard to store."""

    amount: Money = Decimal(0)
    moment: Timestamp = START
    items: tuple[Item, ...] = ()
    due: Timestamp | None = None

    @property
    def due_at(self) -> datetime | None:
        return self.due


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(mongodb_url: str) -> Iterator[AsyncIOMotorClient[Document]]:
    client = connect(mongodb_url)
    yield client
    client.close()


@pytest.fixture
def db(client: AsyncIOMotorClient[Document]) -> Database:
    """A database of the test's own."""
    return database(client, f"test_{uuid4().hex[:12]}")


@pytest.fixture
async def things(db: Database, clock: Clock) -> PlainStore[SampleAggregate]:
    store = PlainStore(db["things"], SampleAggregate, clock)
    await store.prepare()
    return store


def thing(key: str, status: str = "new", **fields: object) -> SampleAggregate:
    return SampleAggregate.model_validate(
        {"order_id": key, "correlation_id": key, "status": status, **fields}
    )


def change(
    entry: LoadedAggregate[SampleAggregate],
    status: str,
    *drafts: Event,
    relayed: bool = False,
    **fields: object,
) -> None:
    """Change an entry as the engine does, recorded under the new status."""
    events = with_identity(
        drafts,
        recorded_under=f"{entry.key}-{status}",
        caused_by=None,
        correlation_id=entry.key,
        occurred_at=START,
    )
    entry.state = thing(entry.key, status, **fields)
    entry.journal[status] = JournalEntry(status, START, [to_json(event) for event in events])
    entry.touched.append(status)
    if relayed:
        entry.queued += [str(event.event_id) for event in events]


async def saved(
    store: Aggregates[SampleAggregate], key: str, status: str, *drafts: Event, relayed: bool = False
) -> list[str]:
    """Load, change and save one thing; return the ids of what it emitted."""
    entry = (await store.fetch([key]))[key]
    change(entry, status, *drafts, relayed=relayed)
    assert await store.write([entry]) == set()
    return [event["eventId"] for event in entry.journal[status].emitted]


# Aggregates


async def test_a_state_comes_back_exactly(things: PlainStore[SampleAggregate]) -> None:
    entry: LoadedAggregate[SampleAggregate] = LoadedAggregate("a")
    items = (Item(product_id="tea", quantity=2), Item(product_id="cup", quantity=1, warehouse_id="berlin"))
    moment = datetime(2026, 3, 1, 14, 0, 0, 999_000, tzinfo=UTC)
    change(entry, "new", amount="0.10", moment=moment, items=items)
    assert await things.write([entry]) == set()
    loaded = (await things.fetch(["a"]))["a"]
    assert loaded.state == entry.state
    assert loaded.state is not None
    assert str(loaded.state.amount) == "0.10"
    assert loaded.state.moment == moment
    assert loaded.state.moment.utcoffset() == timedelta(0)
    assert loaded.version == 1


@pytest.mark.parametrize("amount", ["0", "0.0001", "25.00", "999999999999.9999"])
async def test_an_amount_comes_back_exactly(things: PlainStore[SampleAggregate], amount: str) -> None:
    entry: LoadedAggregate[SampleAggregate] = LoadedAggregate("a")
    change(entry, "new", amount=amount)
    await things.write([entry])
    state = await things.get("a")
    assert state is not None
    assert str(state.amount) == amount


async def test_the_journal_grows_and_keeps_whole_events(things: PlainStore[SampleAggregate]) -> None:
    asked = PaymentRequested(
        order_id="a", user_id="u-1", amount=Decimal("0.1"), idempotency_key="order-a", payment_method="m"
    )
    await saved(things, "a", "new", asked, InventoryConfirmed(order_id="a"))
    before = (await things.fetch(["a"]))["a"].journal["new"]
    await saved(things, "a", "later")
    entry = (await things.fetch(["a"]))["a"]
    assert entry.version == 2
    assert entry.journal.keys() == {"new", "later"}
    assert entry.journal["new"] == before
    assert entry.journal["new"].at == START
    assert [event["type"] for event in before.emitted] == ["PaymentRequested", "InventoryConfirmed"]
    assert before.emitted[0]["amount"] == "0.10"
    assert entry.journal["later"].emitted == []


async def test_many_writers_of_one_document_all_get_their_turn(things: PlainStore[SampleAggregate]) -> None:
    async def add(name: str) -> None:
        while True:
            entry = (await things.fetch(["hot"]))["hot"]
            amount = entry.state.amount if entry.state else Decimal(0)
            change(entry, name, amount=amount + 1)
            if not await things.write([entry]):
                return

    await asyncio.gather(*(add(f"writer-{number}") for number in range(10)))
    entry = (await things.fetch(["hot"]))["hot"]
    assert entry.state is not None
    assert (entry.state.amount, entry.version, len(entry.journal)) == (Decimal(10), 10, 10)


async def test_a_store_loads_what_its_steps_touch_with_the_time(things: PlainStore[SampleAggregate]) -> None:
    await saved(things, "a", "new")
    steps: list[Step[SampleAggregate, datetime]] = [
        Step(key, "step", "r", key, react=lambda state, now: NotImplemented) for key in ("a", "a", "b")
    ]
    unit = await things.load(steps)
    assert unit.context == START
    assert {key: entry.version for key, entry in unit.entries.items()} == {"a": 1, "b": 0}
    change(unit.entries["b"], "new")
    await saved(things, "a", "winner")
    change(unit.entries["a"], "mine")
    assert await things.save(unit) == {"a"}
    assert await things.get("b") == thing("b")


# The outbox


def emission(key: str) -> InventoryConfirmed:
    return InventoryConfirmed(order_id=key)


async def waiting(store: Aggregates[SampleAggregate], clock: Clock, limit: int = 100) -> list[str]:
    """Return the ids of the events that have waited until now."""
    return [str(event.event_id) for event in await store.unpublished(clock.now, limit)]


async def test_only_what_waits_is_picked_from_a_document(
    things: PlainStore[SampleAggregate], clock: Clock
) -> None:
    await saved(things, "a", "answered", emission("a"))
    waits = await saved(things, "a", "cancelled", emission("a"), emission("a"), relayed=True)
    clock.advance(5)
    young = await saved(things, "a", "again", emission("a"), relayed=True)
    assert await waiting(things, clock) == waits
    clock.advance(1)
    assert await waiting(things, clock) == [*waits, *young]


async def test_published_forgets_only_what_it_is_told(
    db: Database, things: PlainStore[SampleAggregate], clock: Clock
) -> None:
    first, second = await saved(things, "a", "placed", emission("a"), emission("a"), relayed=True)
    [other] = await saved(things, "b", "placed", emission("b"), relayed=True)
    clock.advance(1)
    await things.published({"a": [first], "nobody": [second]})
    assert await waiting(things, clock) == [second, other]
    [third] = await saved(things, "a", "cancelled", emission("a"), relayed=True)
    await saved(things, "a", "released")
    clock.advance(1)
    await things.published({"b": [other]})
    assert sorted(await waiting(things, clock)) == sorted([second, third])
    await things.published({"a": [second, third]})
    for _ in range(3):
        assert await waiting(things, clock) == []
    another_process = Aggregates(db["things"], SampleAggregate, clock)
    assert await waiting(another_process, clock) == []
    entry = (await things.fetch(["a"]))["a"]
    assert entry.state == thing("a", "released")
    assert entry.journal.keys() == {"placed", "cancelled", "released"}
    await things.published({})


async def test_what_is_published_between_load_and_write_is_forgotten_all_the_same(
    db: Database, things: PlainStore[SampleAggregate], clock: Clock
) -> None:
    ids = await saved(things, "a", "placed", emission("a"), relayed=True)
    entry = (await things.fetch(["a"]))["a"]
    await things.published({"a": ids})
    change(entry, "cancelled", emission("a"), relayed=True)
    assert await things.write([entry]) == set()
    clock.advance(1)
    cancelled = [event["eventId"] for event in entry.journal["cancelled"].emitted]
    for _ in range(3):
        assert await waiting(things, clock) == cancelled
    assert await waiting(Aggregates(db["things"], SampleAggregate, clock), clock) == cancelled


# Inventory


def replica(client: AsyncIOMotorClient[Document], db: Database) -> InventoryStore:
    """The store of one replica of the service."""
    return InventoryStore(client, db, utc_now, HOLD, f"replica-{uuid4().hex[:8]}")


@pytest.fixture
async def inventory(client: AsyncIOMotorClient[Document], db: Database) -> InventoryStore:
    store = replica(client, db)
    await store.prepare()
    return store


@pytest.fixture
async def replicas(mongodb_url: str, db: Database) -> AsyncIterator[list[InventoryStore]]:
    """The stores of two replicas, with a client each."""
    clients = [connect(mongodb_url) for _ in range(2)]
    stores = [replica(client, database(client, db.name)) for client in clients]
    for store in stores:
        await store.prepare()
    yield stores
    for client in clients:
        client.close()


class Nowhere:
    """A way out that loses everything."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Lose them."""

    async def check(self) -> None:
        """Find nothing wrong."""


def worker(store: InventoryStore) -> InventoryApplication:
    return InventoryApplication(store, lambda events: None, utc_now)


async def answers(store: InventoryStore, requests: Sequence[Event]) -> list[Event]:
    """Have a batch handled; return what is to be published."""
    published: list[Event] = []
    for verdict in await worker(store).handle(requests):
        settled = await verdict.verdict if isinstance(verdict, Deferred) else verdict
        assert isinstance(settled, Handled), settled
        published += settled.publish
    return published


def ask(product: str, quantity: int = 1, order_id: str | None = None) -> InventoryReservationRequested:
    order_id = order_id or uuid4().hex
    return InventoryReservationRequested(
        event_id=f"asked-{order_id}",
        correlation_id=order_id,
        occurred_at=START,
        order_id=order_id,
        user_id="u-1",
        items=(Item(product_id=product, quantity=quantity),),
        total_amount=Decimal("25.00"),
    )


async def level(store: InventoryStore, product: str, warehouse: str = "berlin") -> tuple[int, int, int]:
    found = (await store.levels([product], warehouse))[0]
    return found.available, found.reserved, found.allocated


def hold_step(event: InventoryReservationRequested) -> Step[Reservation, ReservationContext]:
    return Step(
        event.order_id,
        event.type,
        str(event.event_id),
        event.order_id,
        react=lambda state, world: NotImplemented,
        about=event,
    )


def move_into(entry: LoadedAggregate[Reservation], request: InventoryReservationRequested) -> None:
    """Make an entry a hold, as a reaction would."""
    entry.state = Reservation(
        order_id=request.order_id, correlation_id=request.order_id, status="held", items=request.items
    )
    entry.journal["held"] = JournalEntry("held", START)
    entry.touched.append("held")


async def test_two_replicas_sell_exactly_what_there_is(replicas: list[InventoryStore]) -> None:
    one, other = replicas
    await one.set_level("berlin", "tea", 10, None)
    await one.set_level("lisbon", "tea", 7, None)
    batches = [[ask("tea") for _ in range(5)] for _ in range(8)]
    published = await asyncio.gather(
        *(answers(store, batch) for store, batch in zip([one, other] * 4, batches, strict=True))
    )
    kinds = [type(event) for batch in published for event in batch]
    assert len(kinds) == 40
    assert kinds.count(InventoryReserved) == 17
    assert await level(one, "tea", "berlin") == (0, 10, 0)
    assert await level(one, "tea", "lisbon") == (0, 7, 0)


async def test_two_replicas_hold_one_order_once(replicas: list[InventoryStore]) -> None:
    await replicas[0].set_level("berlin", "tea", 10, None)
    requests = [ask("tea", 1, f"order-{number}") for number in range(5)]
    first, second = await asyncio.gather(*(answers(store, requests) for store in replicas))
    assert len(first) == 5
    assert first == second
    assert await level(replicas[0], "tea") == (5, 5, 0)


async def test_levels_are_selected_by_product_and_warehouse(inventory: InventoryStore) -> None:
    for warehouse in ("berlin", "lisbon"):
        for product in ("tea", "cup"):
            await inventory.set_level(warehouse, product, 1, None)
    assert len(await inventory.levels()) == 4
    assert {found.key for found in await inventory.levels(["tea"])} == {
        ("berlin", "tea"),
        ("lisbon", "tea"),
    }
    assert [found.key for found in await inventory.levels(["tea"], "lisbon")] == [("lisbon", "tea")]
    assert len(await inventory.levels(warehouse_id="lisbon")) == 2
    assert await inventory.levels([]) == []


async def test_warehouses_are_added_and_changed(inventory: InventoryStore) -> None:
    here = Location(latitude=52.5, longitude=13.4)
    berlin = Warehouse(warehouse_id="berlin", location=here)
    lisbon = Warehouse(warehouse_id="lisbon", name="Lisbon", location=here)
    await inventory.set_warehouses([berlin, lisbon])
    renamed = berlin.model_copy(update={"name": "Berlin"})
    await inventory.set_warehouses([renamed])
    assert await inventory.warehouses() == [renamed, lisbon]


# The database is away

Call = Callable[[], Awaitable[object]]


def calls(client: AsyncIOMotorClient[Document]) -> dict[str, Call]:
    """Every method of every store that speaks to the database."""
    db = database(client, f"test_{uuid4().hex[:12]}")
    things = PlainStore(db["things"], SampleAggregate, utc_now)
    inventory = replica(client, db)
    orders = OrderStore(db["orders"], Order, utc_now)
    payments = PaymentStore(db["payments"], Payment, utc_now)
    entry: LoadedAggregate[SampleAggregate] = LoadedAggregate("a")
    change(entry, "new", emission("a"), relayed=True)
    request = ask("tea")

    hold: LoadedAggregate[Reservation] = LoadedAggregate(request.order_id)
    move_into(hold, request)
    unit = ReservationUnitOfWork({hold.key: hold}, ReservationContext(Stock(), START, HOLD))
    unit.context.stock.apply([StockMove(("berlin", "tea"), available=-1, reserved=1)])

    async def publish() -> None:
        await things.published({"a": ["some-id"]})
        for _ in range(2):
            await things.unpublished(utc_now(), 1)

    return {
        "prepare": things.prepare,
        "fetch": lambda: things.fetch(["a"]),
        "get": lambda: things.get("a"),
        "write": lambda: things.write([entry]),
        "select": lambda: things.select({}, 1),
        "due": lambda: things.due(1),
        "unpublished": lambda: things.unpublished(utc_now(), 1),
        "published": publish,
        "ping": things.ping,
        "load": lambda: things.load([]),
        "inventory.prepare": inventory.prepare,
        "inventory.load": lambda: inventory.load([hold_step(request)]),
        "inventory.save": lambda: inventory.save(unit),
        "inventory.levels": inventory.levels,
        "inventory.set_level": lambda: inventory.set_level("berlin", "tea", 1, None),
        "inventory.set_level with a version": lambda: inventory.set_level("berlin", "tea", 1, 1),
        "inventory.warehouses": inventory.warehouses,
        "inventory.set_warehouses": lambda: inventory.set_warehouses(
            [Warehouse(warehouse_id="berlin", location=Location(latitude=0, longitude=0))]
        ),
        "orders.prepare": orders.prepare,
        "orders.find": lambda: orders.find(None, 1),
        "orders.books": orders.books,
        "payments.prepare": payments.prepare,
        "payments.books": payments.books,
    }


async def results(calls: dict[str, Call]) -> dict[str, object]:
    """Make all calls at once; return what each returned or raised."""
    answers = await asyncio.gather(*(call() for call in calls.values()), return_exceptions=True)
    return dict(zip(calls, answers, strict=True))


async def test_every_call_says_that_the_database_is_away() -> None:
    client = connect(NOBODY, timeout=0.2)
    for name, result in (await results(calls(client))).items():
        assert isinstance(result, Unavailable), (name, result)
    client.close()


async def test_a_database_that_was_killed_is_used_again_when_it_is_back(tmp_path: Path) -> None:
    with database_server(tmp_path) as node:
        client = connect(node.url, timeout=0.5)
        store = replica(client, database(client, "inventory"))
        await store.prepare()
        for product in ("tea", "cup"):
            await store.set_level("berlin", product, 30, None)
        done = ask("cup", 2)
        await answers(store, [done])
        requests = [ask("tea") for _ in range(40)]
        batches = [requests[start::4] for start in range(4)]
        working = asyncio.gather(*(answers(store, batch) for batch in batches), return_exceptions=True)
        await until(lambda: some_are_held(store), "some are held")
        node.kill()
        for handled in await working:
            assert isinstance(handled, list | Unavailable), handled
        for name, result in (await results(calls(client))).items():
            assert isinstance(result, Unavailable), (name, result)
        node.start()
        await asyncio.to_thread(node.wait_ready)

        async def reached() -> bool:
            with suppress(Unavailable):
                await store.ping()
                return True
            return False

        await until(reached, "the same client reaches the database again")
        assert await level(store, "cup") == (28, 2, 0)
        reservation = await store.get(done.order_id)
        assert reservation is not None
        assert reservation.status == "held"
        kinds = [type(event) for event in await answers(store, requests)]
        assert len(kinds) == 40
        assert kinds.count(InventoryReserved) == 30
        assert await level(store, "tea") == (0, 30, 0)
        for name, result in (await results(calls(client))).items():
            assert not isinstance(result, BaseException), (name, result)
        client.close()


async def some_are_held(store: InventoryStore) -> bool:
    return (await level(store, "tea"))[1] > 0

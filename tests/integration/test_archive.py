"""The archive: what was finished long ago, moved away, and still what it was to every reader and writer."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from events.catalogue import InventoryReservationRequested
from events.values import Item
from order_service.application import OrderApplication
from order_service.mongo_store import OrderStore
from saga.messaging.results import Handled
from saga.mongodb.client import Database, connect, database
from saga.reactions.application import Surroundings
from tests.support.clock import Clock
from tests.support.order_store import order, put, save

AGE = timedelta(days=90)


@pytest.fixture
async def db(mongodb_url: str) -> AsyncIterator[Database]:
    client = connect(mongodb_url)
    yield database(client, f"test_{uuid4().hex[:12]}")
    client.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def orders(db: Database, clock: Clock) -> OrderStore:
    return await replica(db, clock)


async def replica(db: Database, clock: Clock, age: timedelta | None = AGE) -> OrderStore:
    """Return the store of another process."""
    store = OrderStore(db["orders"], clock, age)
    await store.prepare()
    return store


async def archive_due(store: OrderStore) -> int:
    assert store.archivist is not None
    return await store.archivist.archive_due()


async def archived(db: Database) -> list[str]:
    return sorted([one["_id"] async for one in db["orders_archive"].find()])


async def stubs(db: Database) -> list[str]:
    return sorted([one["_id"] async for one in db["orders"].find() if one.get("archived")])


async def test_only_what_has_rested_long_enough_is_archived(
    orders: OrderStore, db: Database, clock: Clock
) -> None:
    await save(orders, order("old", "confirmed"), order("open", "paid"))
    clock.advance(AGE.total_seconds() - 1)
    await save(orders, order("young", "failed"))
    assert await archive_due(orders) == 0
    clock.advance(1)
    assert await archive_due(orders) == 1
    assert await archive_due(orders) == 0
    assert await archived(db) == await stubs(db) == ["old"]


async def test_without_the_setting_nothing_is_archived(db: Database, clock: Clock) -> None:
    store = await replica(db, clock, None)
    await save(store, order("old", "confirmed"))
    clock.advance(10 * AGE.total_seconds())
    assert store.archivist is None
    assert await archive_due(await replica(db, clock)) == 0


async def test_an_archived_order_reads_as_before(orders: OrderStore, clock: Clock) -> None:
    await save(orders, order("a", "confirmed"))
    before = (await orders.fetch(["a"]))["a"]
    clock.advance(AGE.total_seconds())
    assert await archive_due(orders) == 1
    after = (await orders.fetch(["a"]))["a"]
    assert after.version == before.version + 1
    after.version = before.version
    assert after == before
    assert await orders.get("a") == before.state
    assert [one.order_id for one in await orders.find("confirmed", 10)] == ["a"]
    assert await orders.books() == [("USD", Decimal("25.00"), 1)]


async def test_a_timer_of_the_archive_wakes_nothing(orders: OrderStore, clock: Clock) -> None:
    await save(orders, order("a", "confirmed"))
    clock.advance(AGE.total_seconds())
    assert await orders.due() == await orders.waking() == []
    assert (await orders.fetch(["a"]))["a"].wake_at is None


async def test_a_stale_write_brings_nothing_back(orders: OrderStore, db: Database, clock: Clock) -> None:
    await save(orders, order("a", "confirmed"))
    late = (await orders.fetch(["a"]))["a"]
    clock.advance(AGE.total_seconds())
    await archive_due(orders)
    put(late, order("a", "confirmed"))
    assert await orders.write([late]) == {"a"}
    assert await stubs(db) == ["a"]


async def test_an_archived_order_is_not_created_again(orders: OrderStore, db: Database, clock: Clock) -> None:
    application = OrderApplication(orders, Surroundings(clock, lambda events: None))
    request = InventoryReservationRequested(
        event_id="asked",
        order_id="a",
        user_id="u-1",
        items=(Item(product_id="tea", quantity=1),),
        total_amount=Decimal("25.00"),
    )
    assert (await application.place(request)).status == "pending"
    await save(orders, order("a", "confirmed"))
    clock.advance(AGE.total_seconds())
    assert await archive_due(orders) == 1
    again = OrderApplication(orders, Surroundings(clock, lambda events: None))
    assert (await again.place(request)).status == "confirmed"
    [result] = await again.handle([request])
    assert isinstance(result, Handled)
    assert result.publish == []
    assert await stubs(db) == ["a"]


async def test_what_changes_again_leaves_the_archive(orders: OrderStore, db: Database, clock: Clock) -> None:
    await save(orders, order("a", "failed"))
    clock.advance(AGE.total_seconds())
    await archive_due(orders)
    assert await save(orders, order("a", "cancelled")) == set()
    assert await stubs(db) == []
    assert (await orders.get("a")) == order("a", "cancelled")
    clock.advance(AGE.total_seconds())
    assert await archive_due(orders) == 1
    assert (await orders.get("a")) == order("a", "cancelled")


async def test_a_crash_between_copy_and_stub_changes_nothing(
    orders: OrderStore, db: Database, clock: Clock
) -> None:
    await save(orders, order("a", "confirmed"))
    document: Any = await db["orders"].find_one({"_id": "a"})
    await db["orders_archive"].insert_one({**document, "state": "of a run that crashed"})
    clock.advance(AGE.total_seconds())
    assert await orders.get("a") == order("a", "confirmed")
    assert await archive_due(orders) == 1
    assert await orders.get("a") == order("a", "confirmed")


async def test_what_changes_while_it_is_archived_stays(
    orders: OrderStore, db: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await save(orders, order("a", "failed"))
    clock.advance(AGE.total_seconds())
    archivist = orders.archivist
    assert archivist is not None
    copy = archivist.archive.bulk_write  # the moment between reading and replacing

    async def change_meanwhile(*arguments: Any, **options: Any) -> Any:
        await save(orders, order("a", "cancelled"))
        return await copy(*arguments, **options)

    monkeypatch.setattr(archivist, "archive", _Archive(change_meanwhile))
    assert await archivist.archive_due() == 0
    assert await stubs(db) == []
    assert await orders.get("a") == order("a", "cancelled")


async def test_a_missing_copy_is_an_error(orders: OrderStore, db: Database, clock: Clock) -> None:
    await save(orders, order("a", "confirmed"))
    clock.advance(AGE.total_seconds())
    await archive_due(orders)
    await db["orders_archive"].delete_many({})
    with pytest.raises(LookupError, match="orders_archive lacks a"):
        await orders.fetch(["a"])


class _Archive:
    def __init__(self, bulk_write: Any) -> None:
        self.bulk_write = bulk_write

"""The ledger: totals and lists that are right after any crash."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from order_service.mongo_store import OrderStore
from saga.clock import utc_now
from saga.mongodb.client import Database, connect, database
from saga.mongodb.ledger import FOLD_LIMIT, PAGE
from tests.support.order_store import order, put, save


class Crash(Exception):
    """The process ends here."""


@pytest.fixture
async def db(mongodb_url: str) -> AsyncIterator[Database]:
    client = connect(mongodb_url)
    yield database(client, f"test_{uuid4().hex[:12]}")
    client.close()


@pytest.fixture
async def orders(db: Database) -> OrderStore:
    return await replica(db)


async def replica(db: Database) -> OrderStore:
    """Return the store of another process."""
    store = OrderStore(db["orders"], utc_now)
    await store.prepare()
    return store


async def announced(db: Database) -> list[dict[str, Any]]:
    return [one async for one in db["orders_announced"].find()]


def crash_in(store: OrderStore, monkeypatch: pytest.MonkeyPatch, *, after_the_write: bool) -> None:
    """Let the process of this store end between the announcement and the write, or right after the write."""
    bulk_write = store.collection.bulk_write

    async def crash(*arguments: Any, **options: Any) -> None:
        if after_the_write:
            await bulk_write(*arguments, **options)
        raise Crash

    monkeypatch.setattr(store, "collection", _Proxy(store.collection, crash))


class _Proxy:
    def __init__(self, collection: Any, bulk_write: Any) -> None:
        self._collection, self.bulk_write = collection, bulk_write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)


async def test_books_add_up_confirmed_orders(orders: OrderStore) -> None:
    await save(orders, order("a", "paid"), order("b", "paid"), order("c", "failed"))
    assert await orders.books() == []
    await save(orders, order("a", "confirmed"), order("b", "confirmed", amount="0.01"))
    assert await orders.books() == [("USD", Decimal("25.01"), 2)]


async def test_reading_books_twice_counts_once(orders: OrderStore, db: Database) -> None:
    await save(orders, order("a", "confirmed"))
    assert await orders.books() == await orders.books() == [("USD", Decimal("25.00"), 1)]
    assert await announced(db) == []


async def test_another_replica_counts_what_was_written(orders: OrderStore, db: Database) -> None:
    await save(orders, order("a", "confirmed"))
    assert await (await replica(db)).books() == [("USD", Decimal("25.00"), 1)]
    assert await orders.books() == [("USD", Decimal("25.00"), 1)]


async def test_a_later_write_changes_no_total(orders: OrderStore) -> None:
    await save(orders, order("a", "confirmed"))
    await save(orders, order("a", "confirmed"))
    assert await orders.books() == [("USD", Decimal("25.00"), 1)]


async def test_what_crashed_before_its_write_is_not_counted(
    orders: OrderStore, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await save(orders, order("a", "paid"))
    with monkeypatch.context() as patched:
        crash_in(orders, patched, after_the_write=False)
        with pytest.raises(Crash):
            await save(orders, order("a", "confirmed"))
    assert await orders.books() == []
    assert len(await announced(db)) == 1, "the write may still arrive"
    await save(orders, order("a", "confirmed"))
    assert await orders.books() == [("USD", Decimal("25.00"), 1)]
    assert await announced(db) == []


async def test_what_crashed_after_its_write_is_counted(
    orders: OrderStore, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash_in(orders, monkeypatch, after_the_write=True)
    with pytest.raises(Crash):
        await save(orders, order("a", "confirmed"))
    assert await (await replica(db)).books() == [("USD", Decimal("25.00"), 1)]


async def test_only_one_of_two_writers_is_counted(orders: OrderStore, db: Database) -> None:
    other = await replica(db)
    await save(orders, order("a", "paid"))
    one, two = (await orders.fetch(["a"]))["a"], (await other.fetch(["a"]))["a"]
    put(one, order("a", "confirmed"))
    put(two, order("a", "confirmed"))
    assert await orders.write([one]) == set()
    assert await other.write([two]) == {"a"}
    assert await (await replica(db)).books() == [("USD", Decimal("25.00"), 1)]
    assert await announced(db) == []


async def test_an_open_change_does_not_hold_up_others(
    orders: OrderStore, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await save(orders, order("a", "paid"), order("b", "paid"))
    with monkeypatch.context() as patched:
        crash_in(orders, patched, after_the_write=False)
        with pytest.raises(Crash):
            await save(orders, order("a", "confirmed"), order("b", "confirmed"))
    await save(orders, order("b", "confirmed"))
    assert await orders.books() == [("USD", Decimal("25.00"), 1)]
    [left] = await announced(db)
    assert [change["key"] for change in left["changes"]] == ["a"]


async def test_folds_at_the_same_time_count_once(orders: OrderStore, db: Database) -> None:
    for number in range(20):
        await save(orders, order(f"o-{number}", "confirmed"))
    stores = [await replica(db) for _ in range(4)]
    found = await asyncio.gather(*(store.books() for store in stores))
    assert found == [[("USD", Decimal("500.00"), 20)]] * 4


async def test_more_than_one_fold_holds_is_counted(orders: OrderStore, db: Database) -> None:
    changes = [{"key": f"o-{number}", "version": 1} for number in range(FOLD_LIMIT + 1)]
    await db["orders_announced"].insert_many([{"_id": one["key"], "changes": [one]} for one in changes])
    await db["orders"].insert_many([{"_id": one["key"], "version": 1} for one in changes])
    await save(orders, order("a", "confirmed"))
    assert await orders.books() == [("USD", Decimal("25.00"), 1)]


async def test_lists_show_the_newest_over_pages(orders: OrderStore) -> None:
    number = PAGE + 30
    await save(orders, *(order(f"o-{n}", "confirmed", n) for n in range(number)))
    await save(orders, order("f", "failed", number), order("u", "paid", number + 1), order("v", "pending", 5))
    listed = [one.order_id for one in await orders.find(None, 40)]
    assert listed == ["u", "f", *(f"o-{n}" for n in range(number - 1, number - 39, -1))]
    assert [one.order_id for one in await orders.find("confirmed", 1)] == [f"o-{number - 1}"]
    assert [one.order_id for one in await orders.find("failed", 10)] == ["f"]
    assert [one.order_id for one in await orders.find("pending", 10)] == ["v"]
    assert len(await orders.find("confirmed", 1000)) == number


async def test_an_order_that_has_just_ended_is_listed(orders: OrderStore) -> None:
    await save(orders, order("a", "paid"))
    await save(orders, order("a", "confirmed"))
    assert [one.status for one in await orders.find(None, 10)] == ["confirmed"]
    assert await orders.find("paid", 10) == []

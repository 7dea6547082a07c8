"""What the services rely on of a store of aggregates: exact states, the journal, guarded writes."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from events.catalogue import PaymentRequested
from events.encoded import EncodedEvent
from events.values import Item
from saga.reactions.step import Step
from saga.reactions.unit_of_work import LoadedAggregate
from tests.contract.stores import AnyDatabase
from tests.support.clock import START
from tests.support.sample_aggregate import SampleAggregate, change, confirmed, sample, save


async def test_a_missing_aggregate_is_an_empty_entry(db: AnyDatabase) -> None:
    store = await db.samples()
    assert await store.fetch(["nothing"]) == {"nothing": LoadedAggregate("nothing")}
    assert await store.get("nothing") is None


async def test_a_state_comes_back_exactly(db: AnyDatabase) -> None:
    store = await db.samples()
    moment = datetime(2026, 3, 1, 14, 0, 0, 999_000, tzinfo=UTC)
    fields: dict[str, Any] = {
        "amount": Decimal("12345678.1250"),
        "moment": moment,
        "items": (Item(product_id="tea", quantity=2), Item(product_id="cup", quantity=1, warehouse_id="b")),
    }
    await save(store, "a", "new", **fields)
    state = await store.get("a")
    assert state == sample("a", "new", **fields)
    assert state is not None
    assert state.moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize("amount", ["0", "0.10", "0.0001", "25.00", "999999999999.9999"])
async def test_an_amount_comes_back_exactly(db: AnyDatabase, amount: str) -> None:
    store = await db.samples()
    await save(store, "a", "new", amount=amount)
    state = await store.get("a")
    assert state is not None
    assert str(state.amount) == amount


async def test_a_loaded_entry_is_a_copy(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "new", confirmed("a"))
    before = await store.fetch(["a"])
    after = await store.fetch(["a"])
    before["a"].journal.clear()
    assert after == await store.fetch(["a"])


async def test_a_saved_entry_is_a_copy(db: AnyDatabase) -> None:
    store = await db.samples()
    entry = (await store.fetch(["a"]))["a"]
    change(entry, "new", confirmed("a"))
    await store.write([entry])
    entry.journal.clear()
    assert list((await store.fetch(["a"]))["a"].journal) == ["new"]


async def test_the_journal_grows_and_keeps_whole_events(db: AnyDatabase) -> None:
    store = await db.samples()
    request = PaymentRequested(
        order_id="a", user_id="u-1", amount=Decimal("0.1"), idempotency_key="order-a", payment_method="m"
    )
    await save(store, "a", "new", request, confirmed("a"))
    before = (await store.fetch(["a"]))["a"].journal["new"]
    await save(store, "a", "later")
    entry = (await store.fetch(["a"]))["a"]
    assert entry.version == 2
    assert list(entry.journal) == ["new", "later"]
    assert entry.journal["new"] == before
    assert entry.journal["new"].at == START
    assert entry.journal["new"].status == "new"
    assert [EncodedEvent.read(body).type for body in before.emitted] == [
        "PaymentRequested",
        "InventoryConfirmed",
    ]
    assert '"amount":"0.10"' in before.emitted[0]
    assert entry.journal["later"].emitted == ()


async def test_only_stale_entries_are_not_written(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "one")
    entries = await store.fetch(["a", "b", "c"])
    await save(await db.samples(), "a", "other")
    await save(await db.samples(), "b", "other")
    for entry in entries.values():
        change(entry, "mine")
    assert await store.write(entries.values()) == {"a", "b"}
    found = await store.fetch(["a", "b", "c"])
    assert [entry.state and entry.state.status for entry in found.values()] == ["other", "other", "mine"]
    assert "mine" not in found["a"].journal


async def test_unchanged_entries_are_not_written(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "one")
    assert await store.write((await store.fetch(["a", "b"])).values()) == set()
    assert [entry.version for entry in (await store.fetch(["a", "b"])).values()] == [1, 0]


async def test_many_writers_of_one_aggregate_all_succeed(db: AnyDatabase) -> None:
    store = await db.samples()

    async def add(name: str) -> None:
        while True:
            entry = (await store.fetch(["hot"]))["hot"]
            amount = entry.state.amount if entry.state else Decimal(0)
            await asyncio.sleep(0)
            change(entry, name, amount=amount + 1)
            if not await store.write([entry]):
                return

    await asyncio.gather(*(add(f"writer-{number}") for number in range(10)))
    entry = (await store.fetch(["hot"]))["hot"]
    assert entry.state is not None
    assert (entry.state.amount, entry.version, len(entry.journal)) == (Decimal(10), 10, 10)


async def test_a_unit_of_work_has_the_aggregates_of_its_steps(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "new")
    steps: list[Step[SampleAggregate, datetime]] = [
        Step(key, "step", "r", key, react=lambda state, now: NotImplemented) for key in ("a", "a", "b")
    ]
    unit = await store.load(steps, {})
    assert unit.context == START
    assert {key: entry.version for key, entry in unit.entries.items()} == {"a": 1, "b": 0}
    change(unit.entries["b"], "new")
    await save(store, "a", "winner")
    change(unit.entries["a"], "mine")
    assert await store.save(unit) == {"a"}
    assert await store.get("b") == sample("b")


async def test_assumed_aggregates_are_not_read(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "new")
    assumed = LoadedAggregate[SampleAggregate]("a", assumed=True)
    step: Step[SampleAggregate, datetime] = Step(
        "a", "step", "r", "a", react=lambda state, now: NotImplemented
    )
    unit = await store.load([step], {"a": assumed})
    assert unit.entries["a"] is assumed
    change(assumed, "mine")
    assert await store.save(unit) == {"a"}
    assert await store.get("a") == sample("a", "new")


async def test_everything_of_an_entry_comes_back(db: AnyDatabase) -> None:
    store = await db.samples()
    entry = (await store.fetch(["a"]))["a"]
    change(entry, "new", confirmed("a"), relayed=True)
    entry.wake_at, entry.nudge_at, entry.nudges = START, START + timedelta(seconds=1), 3
    await store.write([entry])
    found = (await store.fetch(["a"]))["a"]
    assert found.journal == entry.journal
    assert (found.wake_at, found.nudge_at, found.nudges) == (entry.wake_at, entry.nudge_at, 3)
    assert (found.version, found.updated_at, found.changed, found.assumed) == (1, START, False, False)
    found.wake_at = found.nudge_at = None
    found.changed = True
    await store.write([found])
    again = (await store.fetch(["a"]))["a"]
    assert (again.version, again.wake_at, again.nudge_at, again.nudges) == (2, None, None, 0)


async def test_an_aggregate_is_due_at_its_time(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "one", wake_at=START + timedelta(seconds=5))
    await save(store, "b", "one")
    assert await store.due() == []
    db.clock.advance(5)
    assert await store.due() == ["a"]
    await save(store, "a", "two")
    assert await store.due() == []


async def test_the_longest_overdue_comes_first(db: AnyDatabase) -> None:
    store = await db.samples()
    for key, seconds in {"c": 2, "a": 3, "b": 1}.items():
        await save(store, key, "one", wake_at=START + timedelta(seconds=seconds))
    db.clock.advance(5)
    assert await store.due() == ["b", "c", "a"]


async def test_what_will_be_woken_some_day_is_found(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "one", wake_at=START + timedelta(days=400))
    await save(store, "b", "one")
    assert await store.waking() == ["a"]


async def test_only_what_exists_is_readable(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "one")
    assert [entry.key for entry in await store.readable(["a", "b"])] == ["a"]

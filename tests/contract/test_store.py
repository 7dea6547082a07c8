"""What the services rely on of a store, asked of the real one and of the one in memory alike."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from events.catalogue import InventoryConfirmed, InventoryReleaseRequested, InventoryReservationRequested
from events.codec import to_json
from events.identity import with_identity
from events.values import Item
from inventory_service.reactions import ReservationContext, release, reserve
from inventory_service.reservation import Reservation
from saga.mongodb.client import connect, database
from saga.reactions.step import JournalEntry, LoadedAggregate, Reaction, Step
from saga.reactions.store import UnitOfWork
from tests.contract.stores import (
    PLACE,
    START,
    AggregateStore,
    AnyDatabase,
    Clock,
    MemoryDatabase,
    MongoDatabase,
    SampleAggregate,
    StockStore,
)
from tests.support.builders import event


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def db(request: pytest.FixtureRequest) -> Iterator[AnyDatabase]:
    if request.param == "memory":
        yield MemoryDatabase(Clock())
        return
    client = connect(request.getfixturevalue("mongodb_url"))
    yield MongoDatabase(Clock(), database(client, f"test_{uuid4().hex[:12]}"))
    client.close()


def thing(key: str, status: str = "new", **fields: object) -> SampleAggregate:
    return SampleAggregate.model_validate(
        {"order_id": key, "correlation_id": key, "status": status, **fields}
    )


def change(
    entry: LoadedAggregate[SampleAggregate], status: str, *, relayed: bool = False, **fields: object
) -> str:
    """Change an entry as the batch logic does, with one event recorded under the status; return its id."""
    [emitted] = with_identity(
        [InventoryConfirmed(order_id=entry.key)],
        recorded_under=f"{entry.key}-{status}",
        caused_by=None,
        correlation_id=entry.key,
        occurred_at=START,
    )
    entry.state = thing(entry.key, status, **fields)
    entry.journal[status] = JournalEntry(status, START, [to_json(emitted)])
    entry.touched.append(status)
    if relayed:
        entry.queued.append(str(emitted.event_id))
    return str(emitted.event_id)


async def saved(
    store: AggregateStore[SampleAggregate], key: str, status: str, *, relayed: bool = False, **fields: Any
) -> str:
    """Load, change and save one thing; return the id of its event."""
    entry = (await store.fetch([key]))[key]
    event_id = change(entry, status, relayed=relayed, **fields)
    assert await store.write([entry]) == set()
    return event_id


async def waiting(store: AggregateStore[SampleAggregate], clock: Clock, limit: int = 100) -> list[str]:
    """Return the ids of the events that wait for the relay."""
    return [str(one.event_id) for one in await store.unpublished(clock() + timedelta(seconds=1), limit)]


async def test_what_does_not_exist_is_an_empty_entry(db: AnyDatabase) -> None:
    store = await db.things()
    assert await store.fetch(["nothing"]) == {"nothing": LoadedAggregate("nothing")}
    assert await store.get("nothing") is None


async def test_a_state_comes_back_exactly(db: AnyDatabase) -> None:
    store = await db.things()
    fields: dict[str, Any] = {
        "amount": Decimal("12345678.1250"),
        "items": (Item(product_id="tea", quantity=2),),
    }
    await saved(store, "a", "new", **fields)
    assert await store.get("a") == thing("a", "new", **fields)


async def test_what_was_loaded_is_a_copy(db: AnyDatabase) -> None:
    store = await db.things()
    await saved(store, "a", "new")
    before = await store.fetch(["a"])
    after = await store.fetch(["a"])
    before["a"].journal["new"].emitted[0]["orderId"] = "changed"
    before["a"].journal["new"].emitted.clear()
    assert after == await store.fetch(["a"])


async def test_what_is_saved_is_a_copy(db: AnyDatabase) -> None:
    store = await db.things()
    entry = (await store.fetch(["a"]))["a"]
    change(entry, "new")
    await store.write([entry])
    entry.journal["new"].emitted[0]["orderId"] = "changed"
    assert (await store.fetch(["a"]))["a"].journal["new"].emitted[0]["orderId"] == "a"


async def test_the_journal_grows(db: AnyDatabase) -> None:
    store = await db.things()
    await saved(store, "a", "one")
    await saved(store, "a", "two")
    entry = (await store.fetch(["a"]))["a"]
    assert list(entry.journal) == ["one", "two"]
    assert entry.version == 2


async def test_a_stale_entry_is_reported_and_the_others_are_written(db: AnyDatabase) -> None:
    store = await db.things()
    await saved(store, "a", "one")
    entries = await store.fetch(["a", "b", "c"])
    await saved(await db.things(), "a", "other")
    await saved(await db.things(), "b", "other")
    for entry in entries.values():
        change(entry, "mine")
    assert await store.write(entries.values()) == {"a", "b"}
    found = await store.fetch(["a", "b", "c"])
    assert [entry.state and entry.state.status for entry in found.values()] == ["other", "other", "mine"]
    assert "mine" not in found["a"].journal


async def to_be_nudged(store: AggregateStore[SampleAggregate], clock: Clock, seconds: float) -> list[str]:
    """Return the keys of those that are to be nudged so many seconds after the start."""
    return [entry.key for entry in await store.waiting(START + timedelta(seconds=seconds), 10)]


async def test_who_is_owed_an_answer_waits_to_be_nudged_until_it_is(db: AnyDatabase) -> None:
    store = await db.things()
    await saved(store, "a", "waiting")
    await saved(store, "b", "new")
    assert await to_be_nudged(store, db.clock, 59) == []
    assert await to_be_nudged(store, db.clock, 60) == ["a"]
    await saved(store, "a", "answered")
    assert await to_be_nudged(store, db.clock, 9999) == []


async def test_each_nudge_comes_later_than_the_one_before_until_something_changes(db: AnyDatabase) -> None:
    store = await db.things()
    await saved(store, "a", "waiting")
    for nudges, next_one in enumerate((120, 240, 480)):
        [entry] = await store.waiting(START + timedelta(hours=9), 10)
        assert entry.nudges == nudges
        await store.nudged([entry])
        assert await to_be_nudged(store, db.clock, next_one - 1) == []
        assert await to_be_nudged(store, db.clock, next_one) == ["a"]
    entry = (await store.fetch(["a"]))["a"]
    change(entry, "waiting")
    await store.write([entry])
    assert await to_be_nudged(store, db.clock, 60) == ["a"]
    assert (await store.fetch(["a"]))["a"].nudges == 0


async def test_a_nudge_that_was_overtaken_by_a_change_is_forgotten(db: AnyDatabase) -> None:
    store = await db.things()
    await saved(store, "a", "waiting")
    [before] = await store.waiting(START + timedelta(hours=9), 10)
    await saved(store, "a", "answered")
    await store.nudged([before])
    assert (await store.fetch(["a"]))["a"].nudges == 0
    assert await to_be_nudged(store, db.clock, 9999) == []


async def test_who_has_waited_longest_comes_first(db: AnyDatabase) -> None:
    store = await db.things()
    for key in ("c", "a", "b"):
        await saved(store, key, "waiting")
        db.clock.advance(1)
    late = START + timedelta(hours=9)
    assert [entry.key for entry in await store.waiting(late, 2)] == ["c", "a"]


async def test_those_who_wait_are_read_in_pages(db: AnyDatabase) -> None:
    store = await db.things()
    for key in ("c", "a", "b"):
        await saved(store, key, "waiting")
    late = START + timedelta(hours=9)
    first = await store.waiting(late, 2, "")
    assert [entry.key for entry in first] == ["a", "b"]
    assert [entry.key for entry in await store.waiting(late, 2, "b")] == ["c"]


async def test_what_was_not_changed_is_not_written(db: AnyDatabase) -> None:
    store = await db.things()
    await saved(store, "a", "one")
    assert await store.write((await store.fetch(["a", "b"])).values()) == set()
    assert [entry.version for entry in (await store.fetch(["a", "b"])).values()] == [1, 0]


async def test_what_is_due_is_found_until_it_is_done(db: AnyDatabase) -> None:
    store = await db.things()
    await saved(store, "a", "one", due=START + timedelta(seconds=5))
    await saved(store, "b", "one")
    assert await store.due(10) == []
    db.clock.advance(5)
    assert [found.order_id for found in await store.due(10)] == ["a"]
    await saved(store, "a", "two")
    assert await store.due(10) == []


async def test_what_waits_for_the_relay_is_found_oldest_first(db: AnyDatabase) -> None:
    store = await db.things()
    first = await saved(store, "b", "one", relayed=True)
    db.clock.advance(10)
    second = await saved(store, "a", "one", relayed=True)
    await saved(store, "c", "one")
    assert await waiting(store, db.clock) == [first, second]
    assert await waiting(store, db.clock, 1) == [first]
    assert [str(one.event_id) for one in await store.unpublished(db.clock(), 10)] == [first]


async def test_a_later_change_keeps_what_waits(db: AnyDatabase) -> None:
    store = await db.things()
    first = await saved(store, "a", "one", relayed=True)
    await saved(store, "a", "two")
    second = await saved(store, "a", "three", relayed=True)
    assert set(await waiting(await db.things(), db.clock)) == {first, second}


async def test_what_was_published_is_not_found_again(db: AnyDatabase) -> None:
    store, other = await db.things(), await db.things()
    event_id = await saved(store, "a", "one", relayed=True)
    await store.published({"a": [event_id]})
    assert await waiting(store, db.clock) == []
    assert await waiting(other, db.clock) == [event_id]
    assert await waiting(store, db.clock) == []
    assert await waiting(other, db.clock) == []


async def test_the_next_change_forgets_what_was_published(db: AnyDatabase) -> None:
    store, other = await db.things(), await db.things()
    first = await saved(store, "a", "one", relayed=True)
    await store.published({"a": [first]})
    await saved(store, "a", "two")
    assert await waiting(other, db.clock) == []


def hold(order_id: str, quantity: int = 2) -> Step[Reservation, ReservationContext]:
    request: InventoryReservationRequested = event(
        InventoryReservationRequested,
        f"e-{order_id}",
        order_id=order_id,
        items=(Item(product_id="tea", quantity=quantity),),
    )
    return Step(
        key=order_id,
        name=request.type,
        recorded_under=str(request.event_id),
        correlation_id="c-1",
        react=lambda state, world: reserve(state, request, world),
        about=request,
    )


def take(
    unit: UnitOfWork[Reservation, ReservationContext], step: Step[Reservation, ReservationContext]
) -> Reaction[Reservation]:
    """React as the batch logic does."""
    entry = unit.entries[step.key]
    reaction = step.react(entry.state, unit.context)
    unit.accept(reaction)
    entry.state = reaction.state
    entry.journal[step.recorded_under] = JournalEntry(step.name, START)
    entry.touched.append(step.recorded_under)
    return reaction


async def prepared(
    store: StockStore, *steps: Step[Reservation, ReservationContext]
) -> UnitOfWork[Reservation, ReservationContext]:
    unit = await store.load(steps)
    for step in steps:
        take(unit, step)
    return unit


async def parts(db: AnyDatabase) -> tuple[int, int, int]:
    level = await db.level()
    return level.available, level.reserved, level.allocated


async def test_reservations_and_stock_are_written_together(db: AnyDatabase) -> None:
    await db.put(5)
    store = await db.stock()
    assert not await store.save(await prepared(store, hold("o-1"), hold("o-2"), hold("o-3")))
    found = [await store.get(key) for key in ("o-1", "o-2", "o-3")]
    assert [one and one.status for one in found] == ["held", "held", "rejected"]
    assert await parts(db) == (1, 4, 0)
    assert (await db.level()).owned == 5


async def test_a_level_is_set_only_as_the_version_that_was_seen(db: AnyDatabase) -> None:
    store = await db.stock()
    assert await store.set_level(*PLACE, 5, 1) is None
    await db.put(5)
    assert not await store.save(await prepared(store, hold("o-1")))
    seen = await db.level()
    changed = await store.set_level(*PLACE, 7, seen.version)
    assert changed == await db.level()
    assert changed is not None
    assert changed.version > seen.version
    assert await parts(db) == (7, 2, 0)
    assert changed.owned == 9
    assert await store.set_level(*PLACE, 9, seen.version) is None
    assert changed == await db.level()
    assert await store.set_level(*PLACE, 1, None) == await db.level()
    assert await parts(db) == (1, 2, 0)
    assert (await db.level()).owned == 3


async def test_stock_that_is_gone_leaves_the_reservation_unwritten(db: AnyDatabase) -> None:
    await db.put(5)
    store, other = await db.stock(), await db.stock()
    mine = await prepared(store, hold("o-1", 4))
    assert not await other.save(await prepared(other, hold("o-2", 4)))
    assert set(await store.save(mine)) == {"o-1"}
    assert await store.get("o-1") is None
    assert await parts(db) == (1, 4, 0)


async def test_a_stale_reservation_leaves_the_stock_and_all_others_unwritten(db: AnyDatabase) -> None:
    await db.put(5)
    store, other = await db.stock(), await db.stock()
    mine = await prepared(store, hold("o-1", 1), hold("o-2", 1))
    assert not await other.save(await prepared(other, hold("o-1", 1)))
    assert set(await store.save(mine)) == {"o-1", "o-2"}
    assert await store.get("o-2") is None
    assert await parts(db) == (4, 1, 0)


async def test_moves_that_cancel_each_other_out_are_still_all_or_nothing(db: AnyDatabase) -> None:
    await db.put(2)
    store, other = await db.stock(), await db.stock()
    assert not await store.save(await prepared(store, hold("o-1", 2)))
    mine = await prepared(store, requeue("o-1"), hold("o-2", 2))
    theirs = await prepared(other, requeue("o-1"))
    assert not await other.save(theirs)
    assert set(await store.save(mine)) == {"o-1", "o-2"}
    assert await store.get("o-2") is None
    assert await parts(db) == (2, 0, 0)


def requeue(order_id: str) -> Step[Reservation, ReservationContext]:
    request: InventoryReleaseRequested = event(InventoryReleaseRequested, f"r-{order_id}", order_id=order_id)
    return Step(
        key=order_id,
        name=request.type,
        recorded_under=str(request.event_id),
        correlation_id="c-1",
        react=lambda state, world: release(state, request, world),
        about=request,
    )

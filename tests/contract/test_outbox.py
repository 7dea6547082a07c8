"""What the relay relies on of a store: which events are unpublished, until they are published."""

from tests.contract.stores import AggregateStore, AnyDatabase
from tests.support.clock import Clock
from tests.support.sample_aggregate import SampleAggregate, change, confirmed, sample, save


async def unpublished(
    store: AggregateStore[SampleAggregate], clock: Clock, limit: int = 100, after: float = 1
) -> list[str]:
    """Let a second pass; return the ids of the events that have waited."""
    clock.advance(after)
    return [str(event.event_id) for event in await store.unpublished(clock(), limit)]


async def test_unpublished_events_come_oldest_first(db: AnyDatabase) -> None:
    store = await db.samples()
    [first] = await save(store, "b", "one", confirmed("b"), relayed=True)
    db.clock.advance(10)
    [second] = await save(store, "a", "one", confirmed("a"), relayed=True)
    await save(store, "c", "one", confirmed("c"))
    assert await unpublished(store, db.clock, after=0) == [first]
    assert await unpublished(store, db.clock) == [first, second]
    assert await unpublished(store, db.clock, 1) == [first]


async def test_only_unpublished_events_of_an_aggregate_are_read(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "answered", confirmed("a"))
    old = await save(store, "a", "cancelled", confirmed("a"), confirmed("a"), relayed=True)
    db.clock.advance(5)
    young = await save(store, "a", "released", confirmed("a"), relayed=True)
    assert await unpublished(store, db.clock, after=0) == old
    assert await unpublished(store, db.clock) == [*old, *young]


async def test_a_later_change_keeps_the_outbox(db: AnyDatabase) -> None:
    store = await db.samples()
    [first] = await save(store, "a", "one", confirmed("a"), relayed=True)
    await save(store, "a", "two")
    [second] = await save(store, "a", "three", confirmed("a"), relayed=True)
    assert set(await unpublished(await db.samples(), db.clock)) == {first, second}


async def test_published_events_leave_the_outbox_with_a_search(db: AnyDatabase) -> None:
    store, other = await db.samples(), await db.samples()
    ids = await save(store, "a", "one", confirmed("a"), relayed=True)
    await store.mark_published({"a": ids})
    assert await unpublished(store, db.clock) == []
    assert await unpublished(other, db.clock) == ids
    assert await unpublished(store, db.clock) == []
    assert await unpublished(other, db.clock) == []


async def test_published_events_leave_the_outbox_with_a_change(db: AnyDatabase) -> None:
    store, other = await db.samples(), await db.samples()
    ids = await save(store, "a", "one", confirmed("a"), relayed=True)
    await store.mark_published({"a": ids})
    await save(store, "a", "two")
    assert await unpublished(other, db.clock) == []


async def test_only_the_published_events_leave_the_outbox(db: AnyDatabase) -> None:
    store = await db.samples()
    first, second = await save(store, "a", "placed", confirmed("a"), confirmed("a"), relayed=True)
    [other] = await save(store, "b", "placed", confirmed("b"), relayed=True)
    await store.mark_published({"a": [first]})
    assert await unpublished(store, db.clock) == [second, other]
    [third] = await save(store, "a", "cancelled", confirmed("a"), relayed=True)
    await save(store, "a", "released")
    await store.mark_published({"b": [other]})
    assert sorted(await unpublished(store, db.clock)) == sorted([second, third])
    await store.mark_published({"a": [second, third]})
    for _ in range(3):
        assert await unpublished(store, db.clock) == []
    assert await unpublished(await db.samples(), db.clock) == []
    entry = (await store.fetch(["a"]))["a"]
    assert entry.state == sample("a", "released")
    assert entry.journal.keys() == {"placed", "cancelled", "released"}


async def test_events_published_between_load_and_write_leave_too(db: AnyDatabase) -> None:
    store = await db.samples()
    ids = await save(store, "a", "placed", confirmed("a"), relayed=True)
    entry = (await store.fetch(["a"]))["a"]
    await store.mark_published({"a": ids})
    cancelled = change(entry, "cancelled", confirmed("a"), relayed=True)
    assert await store.write([entry]) == set()
    for _ in range(3):
        assert await unpublished(store, db.clock) == cancelled
    assert await unpublished(await db.samples(), db.clock) == cancelled

"""What the nudges rely on of a store: which aggregates wait for an answer, and since when."""

from datetime import timedelta

from tests.contract.stores import AggregateStore, AnyDatabase
from tests.support.clock import START
from tests.support.sample_aggregate import SampleAggregate, change, confirmed, save

LATE = START + timedelta(hours=9)


async def to_be_nudged(store: AggregateStore[SampleAggregate], seconds: float) -> list[str]:
    """Return the keys of those that are to be nudged so many seconds after the start."""
    return [entry.key for entry in await store.waiting(START + timedelta(seconds=seconds), 10)]


async def test_an_aggregate_is_nudged_until_it_is_answered(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "waiting")
    await save(store, "b", "new")
    assert await to_be_nudged(store, 59) == []
    assert await to_be_nudged(store, 60) == ["a"]
    await save(store, "a", "answered")
    assert await to_be_nudged(store, 9999) == []


async def test_each_nudge_waits_twice_as_long_until_a_change(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "waiting")
    for nudges, next_one in enumerate((120, 240, 480)):
        [entry] = await store.waiting(LATE, 10)
        assert entry.nudges == nudges
        await store.mark_nudged([entry])
        assert await to_be_nudged(store, next_one - 1) == []
        assert await to_be_nudged(store, next_one) == ["a"]
    entry = (await store.fetch(["a"]))["a"]
    change(entry, "waiting", confirmed("a"))
    await store.write([entry])
    assert await to_be_nudged(store, 60) == ["a"]
    assert (await store.fetch(["a"]))["a"].nudges == 0


async def test_a_nudge_overtaken_by_a_change_does_not_count(db: AnyDatabase) -> None:
    store = await db.samples()
    await save(store, "a", "waiting")
    [before] = await store.waiting(LATE, 10)
    await save(store, "a", "answered")
    await store.mark_nudged([before])
    assert (await store.fetch(["a"]))["a"].nudges == 0
    assert await to_be_nudged(store, 9999) == []


async def test_the_longest_wait_comes_first(db: AnyDatabase) -> None:
    store = await db.samples()
    for key in ("c", "a", "b"):
        await save(store, key, "waiting")
        db.clock.advance(1)
    assert [entry.key for entry in await store.waiting(LATE, 2)] == ["c", "a"]


async def test_waiting_aggregates_are_read_in_pages(db: AnyDatabase) -> None:
    store = await db.samples()
    for key in ("c", "a", "b"):
        await save(store, key, "waiting")
    assert [entry.key for entry in await store.waiting(LATE, 2, "")] == ["a", "b"]
    assert [entry.key for entry in await store.waiting(LATE, 2, "b")] == ["c"]

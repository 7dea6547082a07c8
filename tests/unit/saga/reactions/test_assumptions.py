"""Reacting on what is assumed: only a guarded write concludes from it."""

import pytest

from saga.errors import OutOfOrder, Refused, Unavailable
from saga.reactions.cache import AggregateCache, PublishedEvents
from saga.reactions.engine import Engine
from saga.reactions.reaction import Reaction
from saga.reactions.unit_of_work import Patience
from tests.support.accounts import (
    COMPLETED,
    FAILED,
    Account,
    Context,
    MemoryStore,
    account,
    add,
    again,
    fail,
    ids,
    recorded,
    step,
    texts,
    unpublished,
)
from tests.support.builders import NOW
from tests.support.clock import Clock


def waiting(units: int) -> Reaction[Account]:
    return Reaction(Account(total=units, waits=True))


def replica(store: MemoryStore, published: PublishedEvents | None = None) -> Engine[Account, Context]:
    """Return the engine of one process, which remembers what it has written."""
    return Engine("test_service", store, Clock(NOW), Patience(), published, AggregateCache())


async def test_what_was_written_last_is_not_read_again(store: MemoryStore) -> None:
    engine = replica(store)
    await engine.run([step(lambda state, _: waiting(1), "e-1")])
    assert store.reads == ["o-1"]
    (outcome,) = await engine.run([step(add(1, FAILED), "e-2")])
    assert (outcome.state, store.reads) == (account(2), ["o-1"])
    assert list(store.saved["o-1"].journal) == ["e-1", "e-2"]


async def test_what_is_mostly_new_is_not_looked_for(store: MemoryStore) -> None:
    (outcome,) = await replica(store).run([step(add(1, FAILED), creates=True)])
    assert (outcome.name, store.total("o-1"), store.reads) == ("handled", 1, [])


async def test_what_is_not_new_after_all_is_read(store: MemoryStore) -> None:
    await replica(store).run([step(add(1, COMPLETED), "e-0")])
    store.reads.clear()
    (outcome,) = await replica(store).run([step(add(1, FAILED), creates=True)])
    assert (outcome.name, store.total("o-1"), store.reads) == ("handled", 2, ["o-1"])


async def test_a_repetition_of_what_is_taken_for_new_is_one(store: MemoryStore) -> None:
    (first,) = await replica(store).run([step(add(1, FAILED), creates=True)])
    (second,) = await replica(store).run([step(add(1, FAILED), creates=True)])
    assert second.name == "repeated"
    assert texts(second) == texts(first)
    assert store.total("o-1") == 1


async def test_a_stale_memory_loses_and_is_read(store: MemoryStore) -> None:
    mine, theirs = replica(store), replica(store)
    await mine.run([step(lambda state, _: waiting(1), "e-1")])
    await theirs.run([step(add(10), "e-2")])
    store.reads.clear()
    (outcome,) = await mine.run([step(add(1), "e-3")])
    assert (outcome.state, store.reads) == (account(12), ["o-1"])
    assert list(store.saved["o-1"].journal) == ["e-1", "e-2", "e-3"]


@pytest.mark.parametrize(
    "react", [lambda state, _: Reaction(state), again("e-1")], ids=["ignored", "repeated"]
)
async def test_nothing_is_concluded_from_memory(store: MemoryStore, react: object) -> None:
    mine, theirs = replica(store), replica(store)
    await mine.run([step(lambda state, _: waiting(1), "e-1")])
    await theirs.run([step(add(10, COMPLETED), "e-2")])
    (outcome,) = await mine.run([step(react, "e-3")])  # type: ignore[arg-type]
    assert outcome.state == account(11)


@pytest.mark.parametrize("error", [OutOfOrder("unknown"), Refused("no")])
async def test_nothing_is_refused_from_memory(store: MemoryStore, error: Exception) -> None:
    mine, theirs = replica(store), replica(store)
    await mine.run([step(lambda state, _: waiting(1), "e-1")])
    await theirs.run([step(add(10), "e-2")])

    def refuse(state: Account | None, context: Context) -> Reaction[Account]:
        if state == account(11):
            return Reaction(account(0))
        raise error

    (outcome,) = await mine.run([step(refuse, "e-3")])
    assert (outcome.name, store.total("o-1")) == ("handled", 0)


async def test_a_repeated_record_in_memory_is_read_again(store: MemoryStore) -> None:
    engine = replica(store)
    (first,) = await engine.run([step(lambda state, _: Reaction(waiting(1).state, [FAILED]), "e-1")])
    store.reads.clear()
    (second,) = await engine.run([step(add(9), "e-1")])
    assert (texts(second), store.reads) == (texts(first), ["o-1"])


async def test_a_write_that_wins_proves_the_steps_next_to_it(store: MemoryStore) -> None:
    engine = replica(store)
    await engine.run([step(lambda state, _: waiting(1), "e-1")])
    store.reads.clear()
    outcomes = await engine.run([step(fail(Refused("no")), "e-2"), step(add(1), "e-3"), step(add(5), "e-1")])
    assert [outcome.name for outcome in outcomes] == ["failed", "handled", "repeated"]
    assert store.reads == []


async def test_a_refusal_over_an_unsaved_move_is_run_again(store: MemoryStore) -> None:
    """In an atomic store, what one step took is not taken when the batch loses."""
    store.all_or_nothing = True
    store.rivals = [{"o-1"}]

    def second(state: Account | None, context: Context) -> Reaction[Account]:
        if context:
            raise Refused("the first step has taken it")
        return Reaction(account(1))

    refused = step(second, "e-2", "o-2")
    outcomes = await replica(store).run([step(add(1), "e-1", "o-1"), refused])
    assert [outcome.name for outcome in outcomes] == ["handled", "handled"]
    assert store.reads == ["o-1", "o-2", "o-1", "o-2"]


async def test_after_a_failed_save_nothing_is_remembered(store: MemoryStore) -> None:
    engine = replica(store)
    await engine.run([step(lambda state, _: waiting(1), "e-1")])
    store.unsavable = True
    with pytest.raises(Unavailable):
        await engine.run([step(add(1), "e-2")])
    store.unsavable = False
    store.reads.clear()
    await engine.run([step(add(1), "e-3")])
    assert store.reads == ["o-1"]


async def test_a_fresh_run_assumes_nothing(store: MemoryStore) -> None:
    engine = replica(store)
    await engine.run([step(lambda state, _: waiting(1), "e-1")])
    store.reads.clear()
    await engine.run([step(add(1), "e-2"), step(add(1), "e-3", "o-2", creates=True)], fresh=True)
    assert store.reads == ["o-1", "o-2"]


class TestMarks:
    async def test_a_published_event_is_written_as_published(self, store: MemoryStore) -> None:
        published = PublishedEvents()
        engine = replica(store, published)
        (outcome,) = await engine.run([step(add(1, FAILED, COMPLETED), "t-1", message=None)])
        first, second = ids(outcome.relayed)
        published.add("o-1", first)
        assert unpublished(store) == [first, second]
        await engine.run([step(add(1), "e-2")])
        assert unpublished(store) == [second]
        assert recorded(store, "t-1") == [first, second]
        assert published.of("o-1") == set()

    async def test_a_mark_stays_while_its_write_loses(self, store: MemoryStore) -> None:
        published = PublishedEvents()
        engine = replica(store, published)
        (outcome,) = await engine.run([step(add(1, FAILED), "t-1", message=None)])
        published.add("o-1", ids(outcome.relayed)[0])
        entry = store.stored("o-1")
        store.put(store.stored("o-1"))
        await engine.reschedule([entry])
        assert published.of("o-1") == set(ids(outcome.relayed))
        assert unpublished(store) == ids(outcome.relayed)

    async def test_a_wake_up_that_loses_leaves_the_time(self, store: MemoryStore) -> None:
        engine = replica(store)
        await engine.run([step(add(1, FAILED), "t-1", message=None)])
        entry = store.stored("o-1")
        rival = store.stored("o-1")
        rival.wake_at = NOW
        store.put(rival)
        entry.journal.clear()
        await engine.reschedule([entry])
        assert store.saved["o-1"].wake_at == NOW
        assert list(store.saved["o-1"].journal) == ["t-1"]

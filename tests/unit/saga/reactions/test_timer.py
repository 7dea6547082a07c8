"""When an aggregate is woken: the earliest of what no message will do."""

from datetime import timedelta

import pytest

from saga.reactions.cache import AggregateCache
from saga.reactions.engine import Engine
from saga.reactions.reaction import Reaction
from saga.reactions.unit_of_work import LoadedAggregate, Patience
from tests.support.accounts import FAILED, Account, Context, MemoryStore, add, step
from tests.support.builders import NOW, order
from tests.support.clock import Clock

PATIENCE = Patience(relay=timedelta(seconds=2), nudge=timedelta(seconds=60))


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def engine(store: MemoryStore, clock: Clock) -> Engine[Account, Context]:
    return Engine("test_service", store, clock, PATIENCE, cache=AggregateCache())


async def test_what_needs_nothing_is_not_woken(engine: Engine[Account, Context], store: MemoryStore) -> None:
    await engine.run([step(add(1, FAILED))])
    assert store.saved["o-1"].wake_at is None


async def test_unpublished_events_wake(engine: Engine[Account, Context], store: MemoryStore) -> None:
    await engine.run([step(add(1, FAILED), message=None)])
    assert store.saved["o-1"].wake_at == NOW + PATIENCE.relay


async def test_unanswered_requests_wake(
    engine: Engine[Account, Context], store: MemoryStore, clock: Clock
) -> None:
    def wait(state: Account | None, context: Context) -> Reaction[Account]:
        return Reaction(Account(waits=True, total=(state.total if state else 0) + 1))

    await engine.run([step(wait, "e-1")])
    assert store.saved["o-1"].wake_at == store.saved["o-1"].nudge_at == NOW + PATIENCE.nudge
    entry = store.stored("o-1")
    entry.nudges, entry.nudge_at = 1, NOW + 3 * PATIENCE.nudge
    await engine.reschedule([entry])
    assert (store.saved["o-1"].wake_at, store.saved["o-1"].nudges) == (NOW + 3 * PATIENCE.nudge, 1)
    clock.advance(30)
    await engine.run([step(wait, "e-2")])
    assert store.saved["o-1"].nudge_at == NOW + timedelta(seconds=30) + PATIENCE.nudge
    assert store.saved["o-1"].nudges == 0


def test_the_clock_wakes_at_its_time() -> None:
    deadline = NOW + timedelta(seconds=1)
    entry = LoadedAggregate("o-1", 1, order(status="pending", deadline=deadline))
    entry.nudge_at = NOW + timedelta(seconds=5)
    entry.set_timer(NOW, PATIENCE)
    assert entry.wake_at == deadline
    entry.state = order(status="paid", deadline=deadline)
    entry.set_timer(NOW, PATIENCE)
    assert entry.wake_at == entry.nudge_at

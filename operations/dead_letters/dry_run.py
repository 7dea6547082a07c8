"""What a service would make of events: its own tables run on its own data, and nothing is saved."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from events.catalogue import Event
from saga.reactions.aggregate import Aggregate
from saga.reactions.engine import Engine
from saga.reactions.reaction import Reactions
from saga.reactions.step import Outcome, Step, reaction_step
from saga.reactions.store import Store
from saga.reactions.unit_of_work import LoadedAggregate, UnitOfWork

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")


async def dry_run(
    service: str,
    reactions: Reactions[A, C],
    store: Store[A, C],
    events: Sequence[Event],
    clock: Callable[[], datetime],
) -> list[tuple[A | None, Outcome[A]]]:
    """Return, for each event, the state before it and the outcome of handling it; the store is only read.

    Events on one aggregate see each other's result, in the order given.

    Raises:
        Unavailable: the store cannot be reached.
    """
    steps = [reaction_step(reactions, event) for event in events]
    unit = await store.load(steps, {})
    states = {key: entry.state for key, entry in unit.entries.items()}
    outcomes: list[tuple[A | None, Outcome[A]]] = []
    engine = Engine(service, _ReadOnce(unit), clock)
    for step, outcome in zip(steps, await engine.run(steps, fresh=True), strict=True):
        outcomes.append((states[step.key], outcome))
        states[step.key] = outcome.state
    return outcomes


class _ReadOnce(Generic[A, C]):
    """A store that has been read, and is not written to."""

    def __init__(self, unit: UnitOfWork[A, C]) -> None:
        self._unit = unit

    async def load(
        self, steps: Sequence[Step[A, C]], assumed: Mapping[str, LoadedAggregate[A]]
    ) -> UnitOfWork[A, C]:
        return self._unit

    async def save(self, unit: UnitOfWork[A, C]) -> Collection[str]:
        return ()

    async def write(self, entries: Collection[LoadedAggregate[A]]) -> Collection[str]:
        return ()

"""A service without HTTP API and broker: reacts to batches of events, and makes transitions."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar, TypeVarTuple

from events.catalogue import Event
from saga.backoff import jittered
from saga.errors import Unavailable
from saga.messaging.results import Deferred, Handled, Result, Retry
from saga.reactions.aggregate import Aggregate
from saga.reactions.batcher import Batcher
from saga.reactions.cache import AGGREGATES_LIMIT, AggregateCache, PublishedEvents
from saga.reactions.engine import Engine
from saga.reactions.reaction import Reactions, Transition
from saga.reactions.runner import HandOver, Runner
from saga.reactions.step import Outcome, Step, reaction_step, transition_step
from saga.reactions.store import AggregateStore
from saga.reactions.unit_of_work import LoadedAggregate, Patience

LONGEST_TRANSACTION = 120.0
"""Seconds, generously, that documents can be locked: a writer that dies in a transaction leaves it open, and
the database ends it by itself, by default after 60 s."""

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an application shares with its process: the clock, and the relay with what it has published."""

    clock: Callable[[], datetime]
    hand_over: HandOver
    published: PublishedEvents = field(default_factory=PublishedEvents)
    patience: Patience = field(default_factory=Patience)
    cache_limit: int = AGGREGATES_LIMIT
    """How many aggregates are remembered."""


class Application(ABC, Generic[A, C]):
    """Base of the applications of the services."""

    def __init__(
        self,
        service: str,
        reactions: Reactions[A, C],
        store: AggregateStore[A, C],
        around: Surroundings,
    ) -> None:
        self.store = store
        self._service = service
        self._reactions = reactions
        self._engine = Engine(
            service,
            store,
            around.clock,
            around.patience,
            around.published,
            AggregateCache[A](around.cache_limit),
        )
        self._runner = Runner(self._engine, around.hand_over, self.on_outcome)
        self._batched: Batcher[Step[A, C], Outcome[A]] = Batcher(self._runner.run)

    async def available(self) -> None:
        """Return if messages can be handled.

        Raises:
            Unavailable: they cannot.
        """
        await self.store.ping()

    def on_outcome(self, outcome: Outcome[A]) -> None:
        """Called with every outcome, once it is saved."""

    async def handle(self, events: Sequence[Event]) -> list[Result]:
        """React to a batch of events; see `saga.messaging.results.Handler`."""
        steps = [reaction_step(self._reactions, event) for event in events]
        outcomes = await self._runner.run(steps)
        return [self.result(step, outcome) for step, outcome in zip(steps, outcomes, strict=True)]

    def result(self, step: Step[A, C], outcome: Outcome[A]) -> Result:
        """Return the result of the message that caused a step.

        A step that met write conflicts in every round is repeated without holding up the messages behind it.
        """
        if outcome.name == "conflict":
            return Deferred(asyncio.ensure_future(self._retry_conflict(step)))
        return result_of(outcome)

    async def execute(
        self,
        transition: Transition[A, C, *Ts],
        order_id: str,
        correlation_id: str,
        *arguments: *Ts,
        deduplicate_by: str = "",
    ) -> A:
        """Make a transition, once for each `deduplicate_by`; return the aggregate after it.

        Raises:
            OutOfOrder, Refused: the transition is not possible.
            Unavailable: other writers kept changing the same documents; repeating the call is safe.
        """
        step = transition_step(
            self._service, transition, order_id, correlation_id, *arguments, deduplicate_by=deduplicate_by
        )
        outcome = await self.run(step)
        if outcome.name == "conflict":
            raise Unavailable(str(outcome.error))
        if outcome.error is not None:
            raise outcome.error
        if outcome.state is None:
            raise LookupError(order_id)
        return outcome.state

    async def due(self) -> list[str]:
        """Return the keys of the aggregates that have to be woken by now, the longest overdue first."""
        return await self.store.due()

    async def readable(self, keys: Collection[str]) -> list[LoadedAggregate[A]]:
        """Return those of these aggregates that can be read."""
        return await self.store.readable(keys)

    @abstractmethod
    async def act_on_time(self, due: Sequence[A]) -> None:
        """Do what the clock has to do to aggregates whose `due_at` has come."""

    async def reschedule(self, entries: Sequence[LoadedAggregate[A]]) -> None:
        """Save when these have to be woken next."""
        await self._engine.reschedule(entries)

    async def execute_all(self, transition: Transition[A, C], aggregates: Sequence[A]) -> None:
        """Make the same transition for many aggregates, which are read again."""
        await self._runner.run(
            [
                transition_step(self._service, transition, found.order_id, found.correlation_id)
                for found in aggregates
            ],
            fresh=True,
        )

    async def run(self, step: Step[A, C]) -> Outcome[A]:
        """Run a step, in one batch with those that are run at the same time."""
        return await self._batched(step)

    async def _retry_conflict(self, step: Step[A, C]) -> Handled | Retry:
        clock = asyncio.get_running_loop().time
        end = clock() + LONGEST_TRANSACTION
        while True:
            await asyncio.sleep(jittered(1.0, least=0.1))
            outcome = await self.run(step)
            if outcome.name != "conflict" or clock() > end:
                return result_of(outcome)


def result_of(outcome: Outcome[Any]) -> Handled | Retry:
    """Return the result of the message that caused a step with this outcome."""
    if outcome.error is not None:
        return Retry(f"{type(outcome.error).__name__}: {outcome.error}")
    return Handled(outcome.emitted, outcome.name)

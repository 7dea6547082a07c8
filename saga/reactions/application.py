"""Runs the tables of a service: its reactions to events, and its transitions that no event causes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import structlog

from events.catalogue import Event
from events.identity import transition_id
from saga.backoff import jittered
from saga.errors import Unavailable
from saga.messaging.results import Deferred, Handled, Result, Retry
from saga.reactions.aggregate import Aggregate
from saga.reactions.batcher import Batcher
from saga.reactions.engine import Engine, verdict
from saga.reactions.step import Outcome, Rule, Step
from saga.reactions.store import AggregateStore

log = structlog.get_logger()

LONGEST_TRANSACTION = 120.0
"""Seconds that documents can be out of reach, generously: a writer that dies in the middle of a transaction
leaves it open, and the database ends it by itself, by default after 60 s."""


A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")
Reactions = Mapping[type[Event], Rule]
Transitions = Mapping[str, Rule]
Sweep = Callable[[], Awaitable[None]]
HandOver = Callable[[Sequence[Event]], None]
"""Takes saved events that no message would publish again."""


def reaction(reactions: Reactions, event: Event) -> Step[Any, Any]:
    """Return the step that a received event asks for."""
    rule = reactions[type(event)]
    return Step(
        key=event.order_id,
        name=event.type,
        recorded_under=str(event.event_id),
        correlation_id=str(event.correlation_id),
        react=lambda state, context: rule(state, event, context),
        about=event,
        caused_by=event.event_id,
    )


class Application(Generic[A, C]):
    """A service without HTTP API and broker."""

    def __init__(
        self,
        service: str,
        reactions: Reactions,
        transitions: Transitions,
        store: AggregateStore[A, C],
        hand_over: HandOver,
        clock: Callable[[], datetime],
    ) -> None:
        self.store = store
        self._service = service
        self._reactions = reactions
        self._transitions = transitions
        self._engine = Engine(service, store, clock)
        self._hand_over = hand_over
        self.soon: Batcher[Step[A, C], Outcome[A]] = Batcher(self.run)

    @property
    def sweeps(self) -> Sequence[Sweep]:
        """What is to be done every now and then."""
        return ()

    async def available(self) -> None:
        """Return if messages can be handled.

        Raises:
            Unavailable: they cannot.
        """
        await self.store.ping()

    def on_outcome(self, outcome: Outcome[A]) -> None:
        """See every outcome, as soon as it is saved."""

    async def handle(self, events: Sequence[Event]) -> list[Result]:
        """React to a batch of events; see `saga.messaging.results.Handler`."""
        steps = [reaction(self._reactions, event) for event in events]
        outcomes = await self.run(steps)
        return [self.verdict(step, outcome) for step, outcome in zip(steps, outcomes, strict=True)]

    def verdict(self, step: Step[A, C], outcome: Outcome[A]) -> Result:
        """Return what is to be done with the message that a step came from.

        One that lost too many races is run again until it wins, while the messages behind it go on.
        """
        if outcome.name == "conflict":
            return Deferred(asyncio.ensure_future(self._insist(step)))
        return verdict(outcome)

    async def transit(
        self, name: str, order_id: str, correlation_id: str, *about: object, occasion: str = ""
    ) -> A:
        """Make one transition and have its events published; return the aggregate after it.

        A transition is made once; `occasion` tells one that may come again apart. Those asked for at the
        same time are saved together.

        Raises:
            OutOfOrder, Refused: what the transition says.
            Unavailable: others kept changing the same documents; asking again is safe.
        """
        outcome = await self.soon(self.transition(name, order_id, correlation_id, *about, occasion=occasion))
        if outcome.name == "conflict":
            raise Unavailable(str(outcome.error))
        if outcome.error is not None:
            raise outcome.error
        if outcome.state is None:
            raise LookupError(order_id)
        return outcome.state

    async def transit_all(self, name: str, aggregates: Sequence[A]) -> None:
        """Make the same transition for many."""
        await self.run([self.transition(name, found.order_id, found.correlation_id) for found in aggregates])

    async def run(self, steps: Sequence[Step[A, C]]) -> list[Outcome[A]]:
        """Run steps, log what came of each, and hand over to the relay what it has to publish."""
        outcomes = await self._engine.run(steps)
        for step, outcome in zip(steps, outcomes, strict=True):
            log.info(
                outcome.name,
                step=step.name,
                order_id=step.key,
                correlation_id=step.correlation_id,
                status=outcome.state.status if outcome.state else None,
                emitted=[event.type for event in (*outcome.emitted, *outcome.relayed)],
                error=repr(outcome.error) if outcome.error else None,
            )
            self.on_outcome(outcome)
            self._hand_over(outcome.relayed)
        return outcomes

    async def _insist(self, step: Step[A, C]) -> Handled | Retry:
        clock = asyncio.get_running_loop().time
        end = clock() + LONGEST_TRANSACTION
        while True:
            await asyncio.sleep(jittered(1.0, least=0.1))
            outcome = await self.soon(step)
            if outcome.name != "conflict" or clock() > end:
                return verdict(outcome)

    def transition(
        self, name: str, order_id: str, correlation_id: str, *about: object, occasion: str = ""
    ) -> Step[A, C]:
        """Return the step of a transition; its rule gets the aggregate, `about`, and the context."""
        rule = self._transitions[name]
        return Step(
            key=order_id,
            name=name,
            recorded_under=transition_id(self._service, order_id, name + occasion),
            correlation_id=correlation_id,
            react=lambda state, context: rule(state, *about, context),
            about=about[0] if about else None,
            relayed=True,
        )

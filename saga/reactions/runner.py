"""Runs steps, logs what became of each, and hands over what the relay has to publish."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog

from events.encoded import EncodedEvent
from saga.reactions.aggregate import Aggregate
from saga.reactions.engine import Engine
from saga.reactions.step import Outcome, Step

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")

log = structlog.get_logger()

HandOver = Callable[[Sequence[EncodedEvent]], None]
"""Takes saved events that no message would publish again."""


class Runner(Generic[A, C]):
    """Runs the steps of one service; `on_outcome` is called with every outcome, once it is saved."""

    def __init__(
        self,
        engine: Engine[A, C],
        hand_over: HandOver,
        on_outcome: Callable[[Outcome[A]], None],
    ) -> None:
        self._engine = engine
        self._hand_over = hand_over
        self._on_outcome = on_outcome

    async def run(self, steps: Sequence[Step[A, C]], *, fresh: bool = False) -> list[Outcome[A]]:
        """Return the outcomes of these steps; see `Engine.run`."""
        outcomes = await self._engine.run(steps, fresh=fresh)
        for step, outcome in zip(steps, outcomes, strict=True):
            log.info(
                "step_run",
                step=step.name,
                outcome=outcome.name,
                order_id=step.key,
                correlation_id=step.correlation_id,
                status=outcome.state.status if outcome.state else None,
                emitted=[event.type for event in (*outcome.emitted, *outcome.relayed)],
                error=repr(outcome.error) if outcome.error else None,
            )
            self._on_outcome(outcome)
            self._hand_over(outcome.relayed)
        return outcomes

"""What the engine and the applications need of a store."""

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar

from saga.reactions.step import Step
from saga.reactions.unit_of_work import UnitOfWork

S = TypeVar("S")
C = TypeVar("C")


class Store(Protocol[S, C]):
    """Keeps the aggregates of one service. Every method may raise `saga.errors.Unavailable`."""

    async def load(self, steps: Sequence[Step[S, C]]) -> UnitOfWork[S, C]:
        """Load everything the steps need; an aggregate that does not exist is empty."""

    async def save(self, unit: UnitOfWork[S, C]) -> Collection[str]:
        """Write what changed; return the keys that another writer has changed since, unwritten."""


class AggregateStore(Store[S, C], Protocol[S, C]):
    """What an application needs of a store."""

    async def get(self, key: str) -> S | None:
        """Return the state of one aggregate."""

    async def due(self, limit: int) -> list[S]:
        """Return aggregates that the clock has to change by now."""

    async def ping(self) -> None:
        """Return if the store answers; else raise `saga.errors.Unavailable`."""

"""What the engine and the applications need of a store."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from saga.reactions.aggregate import Aggregate
from saga.reactions.step import Step
from saga.reactions.unit_of_work import LoadedAggregate, UnitOfWork

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")


class Store(Protocol[A, C]):
    """Keeps the aggregates of one service. Every method may raise `saga.errors.Unavailable`."""

    async def load(
        self, steps: Sequence[Step[A, C]], assumed: Mapping[str, LoadedAggregate[A]]
    ) -> UnitOfWork[A, C]:
        """Load everything the steps need but the assumed aggregates; one that does not exist is empty."""

    async def save(self, unit: UnitOfWork[A, C]) -> Collection[str]:
        """Write the changed aggregates with their version increased by one, and what was changed with them.

        Return the keys of those that another writer has changed since, unwritten.
        """

    async def write(self, entries: Collection[LoadedAggregate[A]]) -> Collection[str]:
        """Do the same for aggregates that change nothing with them."""


class AggregateStore(Store[A, C], Protocol[A, C]):
    """What an application needs of a store."""

    async def get(self, key: str) -> A | None:
        """Return the state of one aggregate."""

    async def fetch(self, keys: Collection[str]) -> dict[str, LoadedAggregate[A]]:
        """Return an entry for each key, an empty one for what does not exist.

        Raises:
            ValueError, LookupError, TypeError: one cannot be read.
        """

    async def readable(self, keys: Collection[str]) -> list[LoadedAggregate[A]]:
        """Return those of these aggregates that exist and can be read; the others are logged."""

    async def due(self) -> list[str]:
        """Return the keys of the aggregates that have to be woken by now, the longest overdue first."""

    async def waking(self) -> list[str]:
        """Return the keys of all aggregates that have to be woken some day."""

    async def ping(self) -> None:
        """Return if the store answers; else raise `saga.errors.Unavailable`."""

"""What the batch logic and the relay need of a store."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from events.catalogue import Event
from saga.reactions.step import LoadedAggregate, Reaction, Step

S = TypeVar("S")
C = TypeVar("C")
A = TypeVar("A")


class UnitOfWork(Generic[S, C]):
    """What one batch works on: the aggregates it touches, and what was loaded beside them."""

    def __init__(self, entries: dict[str, LoadedAggregate[S]], context: C) -> None:
        self.entries = entries
        self.context = context

    def accept(self, reaction: Reaction[S]) -> None:
        """Let the next reaction of the batch see what this one did beside its aggregate."""


class Store(Protocol[S, C]):
    """Keeps the aggregates of one service. Every method may raise `saga.errors.Unavailable`."""

    async def load(self, steps: Sequence[Step[S, C]]) -> UnitOfWork[S, C]:
        """Load everything the steps touch, an empty entry for what does not exist."""

    async def save(self, unit: UnitOfWork[S, C]) -> Collection[str]:
        """Write what changed; return the keys that somebody else has changed meanwhile, of which nothing
        was written."""


class AggregateStore(Store[A, C], Protocol[A, C]):
    """What an application needs of a store."""

    async def get(self, key: str) -> A | None:
        """Return the state of one aggregate."""

    async def due(self, limit: int) -> list[A]:
        """Return aggregates that the clock has to change by now."""

    async def ping(self) -> None:
        """Return if the store answers; else raise `saga.errors.Unavailable`."""


class Waiting(Protocol):
    """The aggregates of a store that somebody owes an answer."""

    async def waiting(
        self, before: datetime, limit: int, after: str | None = None
    ) -> list[LoadedAggregate[Any]]:
        """Return those to be nudged before that moment: first who has waited longest or, with `after`,
        those behind that key, in the order of their keys."""

    async def nudged(self, entries: Collection[LoadedAggregate[Any]]) -> None:
        """Remember that these were nudged, unless they have changed since: the next time comes later."""


class Outbox(Protocol):
    """The unpublished events of a store."""

    async def unpublished(self, before: datetime, limit: int) -> list[Event]:
        """Return events that have waited since before that moment, oldest first."""

    async def published(self, events: Mapping[str, Sequence[str]]) -> None:
        """Forget these as unpublished: event ids by aggregate."""

    async def ping(self) -> None:
        """Return if the store answers; else raise `saga.errors.Unavailable`."""


Document = dict[str, Any]

"""What one process remembers between two batches. It may be wrong at any time, and cost nothing but time."""

from collections import OrderedDict
from collections.abc import Collection
from typing import Generic, TypeVar

from saga.reactions.aggregate import Aggregate
from saga.reactions.unit_of_work import LoadedAggregate

A = TypeVar("A", bound=Aggregate)

AGGREGATES_LIMIT = 2000
MARKS_LIMIT = 10_000


class AggregateCache(Generic[A]):
    """The unfinished aggregates that this process wrote last, as it wrote them.

    Another process may have changed them since: only a guarded write may conclude anything from them.
    """

    def __init__(self, limit: int = AGGREGATES_LIMIT) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, LoadedAggregate[A]] = OrderedDict()

    def get(self, key: str) -> LoadedAggregate[A] | None:
        """Return a copy of what was written under this key."""
        entry = self._entries.get(key)
        return entry.copy() if entry else None

    def put(self, written: LoadedAggregate[A]) -> None:
        """Remember an entry that was just written, unless nothing more is expected of it."""
        known = self._entries.pop(written.key, None)
        if known and known.version > written.version:
            written = known
        if written.wake_at is None:
            return
        self._entries[written.key] = written
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget what is under this key."""
        self._entries.pop(key, None)


class PublishedEvents:
    """The events of the relay that the broker has confirmed, until their aggregates are written without them.

    A mark costs no write of its own. One that is lost has an event published once more.
    """

    def __init__(self, limit: int = MARKS_LIMIT) -> None:
        self._limit = limit
        self._ids: OrderedDict[str, set[str]] = OrderedDict()

    def add(self, key: str, event_id: str) -> None:
        """Remember that an event of this aggregate is published."""
        self._ids.setdefault(key, set()).add(event_id)
        if len(self._ids) > self._limit:
            self._ids.popitem(last=False)

    def of(self, key: str) -> frozenset[str]:
        """Return the ids of this aggregate's published events."""
        return frozenset(self._ids.get(key, ()))

    def forget(self, key: str, event_ids: Collection[str]) -> None:
        """Forget these, which are written as published."""
        left = self._ids.get(key, set()).difference(event_ids)
        if left:
            self._ids[key] = left
        else:
            self._ids.pop(key, None)

"""The stores in memory: tables that outlive the processes, and what a process reads and writes them with.

What `saga.mongodb.aggregates.Aggregates` says holds for them as well: guarded writes, the journal, the outbox
that is forgotten lazily, what is due. States are stored as they are, since they are immutable; in some
schedules they are also written as a document and read again. Records, which can be changed, are copied.
"""

import marshal
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from events.catalogue import Event
from events.codec import from_json
from saga.reactions.aggregate import Aggregate
from saga.reactions.step import Step
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate, UnitOfWork
from saga.timers.nudge import pause
from verification.simulation.adversary import Process

M = TypeVar("M", bound=Aggregate)


class StoredEntry(NamedTuple):
    """A record as it is stored, with its events as bytes."""

    name: str
    at: datetime
    emitted: bytes


@dataclass(slots=True)
class StoredRow:
    """One aggregate as it is stored."""

    version: int
    state: Any
    due_at: datetime | None
    journal: dict[str, StoredEntry]
    outbox: list[tuple[str, datetime]] = field(default_factory=list)
    nudge_at: datetime | None = None
    nudges: int = 0

    @property
    def emitted(self) -> list[dict[str, Any]]:
        """Every event in the journal."""
        return [event for record in self.journal.values() for event in _read(record).emitted]


Table = dict[str, StoredRow]
NUDGE_AFTER = timedelta(minutes=1)


class MemoryAggregates(Generic[M]):
    """The aggregates of one type, as one process sees them."""

    def __init__(self, table: Table, model: type[M], clock: Callable[[], datetime], process: Process) -> None:
        self._table = table
        self._model = model
        self._clock = clock
        self._process = process
        self._published: dict[str, set[str]] = {}
        self._overdue: set[str] = set()

    async def fetch(self, keys: Collection[str]) -> dict[str, LoadedAggregate[M]]:
        """Return an entry for each key, an empty one for what does not exist."""
        await self._process.reach_store("load")
        return {
            key: self.entry(key, self._table[key]) if key in self._table else LoadedAggregate(key)
            for key in sorted(keys)
        }

    async def write(self, entries: Collection[LoadedAggregate[M]]) -> set[str]:
        """Write the changed entries, each unless it was written since; return the stale keys."""
        changed = [entry for entry in entries if entry.changed]
        if not changed:
            return set()
        await self._process.reach_store("save")
        stale: set[str] = set()
        adversary = self._process.adversary
        whole = not adversary.strikes("store torn")
        for entry in changed if whole else adversary.share(changed):
            if self.is_stale(entry) or adversary.strikes("store conflict"):
                stale.add(entry.key)
            else:
                self.put(entry)
        await self._process.leave_store("save")
        if not whole:
            raise self._process.store_unavailable("in the middle of a save")
        return stale

    async def get(self, key: str) -> M | None:
        """Return the state of one aggregate."""
        return (await self.fetch([key]))[key].state

    async def due(self, limit: int) -> list[M]:
        """Return the aggregates that are due."""
        if not self._due():
            return []
        await self._process.reach_store("looking for what is due")
        return self._due()[:limit]

    async def waiting(
        self, before: datetime, limit: int, after: str | None = None
    ) -> list[LoadedAggregate[M]]:
        """See `saga.timers.nudge.Waiting`."""
        if not self._waiting(before):
            return []
        await self._process.reach_store("looking for unanswered requests")
        longest_first = [key for _, key in sorted(self._waiting(before))]
        keys = longest_first if after is None else sorted(key for key in longest_first if key > after)
        return [self.entry(key, self._table[key]) for key in keys[:limit]]

    async def mark_nudged(self, entries: Collection[LoadedAggregate[M]]) -> None:
        """See `saga.timers.nudge.Waiting`."""
        await self._process.reach_store("remembering nudges")
        for entry in entries:
            row = self._table[entry.key]
            if row.version == entry.version and row.nudge_at:
                row.nudges += 1
                row.nudge_at = self._clock() + pause(NUDGE_AFTER, entry.nudges + 1)

    async def unpublished(self, before: datetime, limit: int) -> list[Event]:
        """Return events that were saved before that moment and are unpublished, oldest first."""
        self._forget()
        if not any(row.outbox for row in self._table.values()):
            return []
        await self._process.reach_store("looking for what is unpublished")
        rows = [
            (min(at for _, at in row.outbox), key, row)
            for key, row in self._table.items()
            if any(at < before for _, at in row.outbox)
        ]
        events: list[Event] = []
        for _, key, row in sorted(rows, key=lambda found: found[:2])[:limit]:
            waiting = {event_id for event_id, at in row.outbox if at < before}
            waiting -= self._published.get(key, set())
            events += [
                from_json(event)
                for kept in row.journal.values()
                for event in _read(kept).emitted
                if event["eventId"] in waiting
            ]
        return events

    async def mark_published(self, events: Mapping[str, Collection[str]]) -> None:
        """Take these off the outbox, with the next change of the document or a later look."""
        for key, ids in events.items():
            self._published.setdefault(key, set()).update(ids)

    async def ping(self) -> None:
        """Return if the store answers."""
        await self._process.reach_store("ping")

    def entry(self, key: str, row: StoredRow) -> LoadedAggregate[M]:
        """Return the entry that a row holds."""
        return LoadedAggregate(
            key=key,
            version=row.version,
            state=row.state,
            journal={name: _read(kept) for name, kept in row.journal.items()},
            nudges=row.nudges,
        )

    def is_stale(self, entry: LoadedAggregate[M]) -> bool:
        """Return whether the row was written since it was loaded."""
        row = self._table.get(entry.key)
        return (row.version if row else 0) != entry.version

    def put(self, entry: LoadedAggregate[M]) -> None:
        """Write one entry that is not stale."""
        if entry.state is None:
            raise ValueError(f"{entry.key} has a record but no state")
        now = self._clock()
        row = self._table.get(entry.key)
        outbox = row.outbox if row else []
        if entry.queued:
            outbox = [*outbox, *((event_id, now) for event_id in entry.queued)]
        elif done := self._published.pop(entry.key, None):
            outbox = [item for item in outbox if item[0] not in done]
        self._table[entry.key] = StoredRow(
            version=entry.version + 1,
            state=self._stored(entry.state),
            due_at=entry.state.due_at,
            journal={
                **(row.journal if row else {}),
                **{name: _stored_entry(entry.journal[name]) for name in entry.changed},
            },
            outbox=outbox,
            nudge_at=now + NUDGE_AFTER if entry.state.unanswered_requests else None,
        )
        self._process.note(f"saves {entry.key} {entry.state.status} v{entry.version + 1}")

    def _stored(self, state: M) -> M:
        if not self._process.adversary.roundtrip_documents:
            return state
        read = self._model.model_validate(state.model_dump(by_alias=True))
        if read != state:
            raise ValueError(f"the stored state reads differently: {state!r} as {read!r}")
        return read

    def _due(self) -> list[M]:
        now = self._clock()
        return [row.state for row in self._table.values() if row.due_at and row.due_at <= now]

    def _waiting(self, before: datetime) -> list[tuple[datetime, str]]:
        rows = self._table.items()
        return [(row.nudge_at, key) for key, row in rows if row.nudge_at and row.nudge_at <= before]

    def _forget(self) -> None:
        for key in sorted(self._overdue & self._published.keys()):
            done = self._published.pop(key)
            row = self._table[key]
            row.outbox = [item for item in row.outbox if item[0] not in done]
        self._overdue = set(self._published)


class MemoryStore(MemoryAggregates[M]):
    """The store of a service whose reactions need only the aggregate and the time (a `Store`)."""

    async def load(self, steps: Sequence[Step[M, datetime]]) -> UnitOfWork[M, datetime]:
        """Load the aggregates that the steps touch."""
        return UnitOfWork(await self.fetch({step.key for step in steps}), self._clock())

    async def save(self, unit: UnitOfWork[M, datetime]) -> set[str]:
        """Write what changed; return the stale keys."""
        return await self.write(unit.entries.values())


def _stored_entry(record: JournalEntry) -> StoredEntry:
    return StoredEntry(record.name, record.at, marshal.dumps(record.emitted))


def _read(kept: StoredEntry) -> JournalEntry:
    return JournalEntry(kept.name, kept.at, marshal.loads(kept.emitted))  # noqa: S302 (written above)

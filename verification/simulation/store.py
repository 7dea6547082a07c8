"""The stores in memory: tables that outlive the processes, and what a process reads and writes them with.

What `saga.mongodb.aggregates.Aggregates` says holds for them as well: guarded writes, the journal, when an
aggregate is woken. States and journal entries are stored as they are, since they are immutable; in
some schedules states are also written as a document and read again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from saga.reactions.aggregate import Aggregate
from saga.reactions.step import Step
from saga.reactions.unit_of_work import LoadedAggregate, UnitOfWork
from verification.simulation.adversary import Process

M = TypeVar("M", bound=Aggregate)

Table = dict[str, LoadedAggregate[Any]]
"""Each aggregate as it is stored."""


class MemoryAggregates(Generic[M]):
    """The aggregates of one type, as one process sees them."""

    def __init__(self, table: Table, model: type[M], clock: Callable[[], datetime], process: Process) -> None:
        self._table = table
        self._model = model
        self._clock = clock
        self._process = process

    async def fetch(self, keys: Collection[str]) -> dict[str, LoadedAggregate[M]]:
        """Return an entry for each key, an empty one for what does not exist."""
        if not keys:
            return {}
        await self._process.reach_store("load")
        return {key: self.entry(key) for key in sorted(keys)}

    async def readable(self, keys: Collection[str]) -> list[LoadedAggregate[M]]:
        """Return those of these aggregates that exist."""
        return [entry for entry in (await self.fetch(keys)).values() if entry.version]

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

    async def due(self) -> list[str]:
        """Return the keys of the aggregates that have to be woken by now, the longest overdue first."""
        now = self._clock()
        if not any(row.wake_at and row.wake_at <= now for row in self._table.values()):
            return []
        await self._process.reach_store("looking for what is due")
        rows = self._table.items()
        return [
            key
            for _, key in sorted(
                (row.wake_at, key) for key, row in rows if row.wake_at and row.wake_at <= now
            )
        ]

    async def waking(self) -> list[str]:
        """Return the keys of all aggregates that have to be woken some day."""
        await self._process.reach_store("looking for what waits")
        return [key for key, row in self._table.items() if row.wake_at]

    async def ping(self) -> None:
        """Return if the store answers."""
        await self._process.reach_store("ping")

    def entry(self, key: str) -> LoadedAggregate[M]:
        """Return a copy of what is stored under a key."""
        row = self._table.get(key)
        return row.copy() if row else LoadedAggregate(key)

    def is_stale(self, entry: LoadedAggregate[M]) -> bool:
        """Return whether the row was written since it was loaded."""
        row = self._table.get(entry.key)
        return (row.version if row else 0) != entry.version

    def put(self, entry: LoadedAggregate[M]) -> None:
        """Write one entry that is not stale."""
        if entry.state is None:
            raise ValueError(f"{entry.key} has a record but no state")
        row = entry.copy()
        row.state = self._stored(entry.state)
        row.version, row.updated_at, row.changed, row.assumed = entry.version + 1, self._clock(), False, False
        row.nudges = entry.nudges if entry.nudge_at else 0
        self._table[entry.key] = row
        self._process.note(f"saves {entry.key} {entry.state.status} v{row.version}")

    def _stored(self, state: M) -> M:
        if not self._process.adversary.roundtrip_documents:
            return state
        read = self._model.model_validate(state.model_dump(by_alias=True, exclude_none=True))
        if read != state:
            raise ValueError(f"the stored state reads differently: {state!r} as {read!r}")
        return read


class MemoryStore(MemoryAggregates[M]):
    """The store of a service whose reactions need only the aggregate and the time (a `Store`)."""

    async def load(
        self, steps: Sequence[Step[M, datetime]], assumed: Mapping[str, LoadedAggregate[M]]
    ) -> UnitOfWork[M, datetime]:
        """Load the aggregates that the steps touch, but the assumed ones."""
        read = await self.fetch({step.key for step in steps} - assumed.keys())
        return UnitOfWork({**read, **assumed}, self._clock())

    async def save(self, unit: UnitOfWork[M, datetime]) -> set[str]:
        """Write what changed; return the stale keys."""
        return await self.write(unit.entries.values())

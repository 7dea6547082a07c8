"""Aggregates in a MongoDB collection: one query to load a batch, one guarded bulk write to save it.

A document holds the aggregate's state, its version, a journal of what it has handled, each entry with the
events that it emitted, and the outbox: ids of emitted events that no redelivery would publish. `dueAt` says
when the clock has to change the aggregate; `nudgeAt` when its unanswered requests are published again, and
`nudges` how often that has been done.

    {_id, version, updatedAt, dueAt?, nudgeAt?, nudges?, state: {...},
     journal: {<event id>: {name, at, emitted: [...]}}, outbox: [{id, at}]}
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import structlog
from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from events.catalogue import Event
from events.codec import from_json
from saga.mongodb.client import Document, DocumentCollection, Session
from saga.mongodb.errors import stale_writes, translate_driver_errors
from saga.reactions.aggregate import Aggregate
from saga.reactions.step import Step
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate, UnitOfWork
from saga.timers.nudge import pause

log = structlog.get_logger()

M = TypeVar("M", bound=Aggregate)

NUDGE_AFTER = timedelta(minutes=1)


@contextmanager
def _skip_unreadable(document: Document) -> Iterator[None]:
    """Log a document that cannot be read, perhaps one of another version, instead of hiding the others."""
    try:
        yield
    except (ValueError, LookupError, TypeError):
        log.exception("unreadable_document", order_id=document["_id"])


class Aggregates(Generic[M]):
    """The aggregates of one type, each in one document with its journal and its outbox.

    Every method that reads or writes raises `saga.errors.Unavailable` while the database cannot serve.
    """

    def __init__(
        self,
        collection: DocumentCollection,
        model: type[M],
        clock: Callable[[], datetime],
        nudge_after: timedelta = NUDGE_AFTER,
    ) -> None:
        self.collection = collection
        self._model = model
        self._clock = clock
        self._nudge_after = nudge_after
        self._published: dict[str, set[str]] = {}
        self._overdue: set[str] = set()

    async def prepare(self) -> None:
        """Create the sparse indexes of the relay and the sweeps; few documents are in any of them."""
        with translate_driver_errors():
            await self.collection.create_index("outbox.at", sparse=True)
            await self.collection.create_index("dueAt", sparse=True)
            await self.collection.create_index("nudgeAt", sparse=True)

    async def fetch(
        self, keys: Collection[str], session: Session | None = None
    ) -> dict[str, LoadedAggregate[M]]:
        """Return an entry for each key, an empty one for a key without a document."""
        entries: dict[str, LoadedAggregate[M]] = {key: LoadedAggregate(key) for key in keys}
        with translate_driver_errors():
            async for document in self.collection.find({"_id": {"$in": list(entries)}}, session=session):
                entries[document["_id"]] = self.entry(document)
        return entries

    async def write(
        self, entries: Collection[LoadedAggregate[M]], session: Session | None = None
    ) -> set[str]:
        """Write each changed entry unless its document has changed since; return the keys that were stale."""
        changed = [entry for entry in entries if entry.changed]
        if not changed:
            return set()
        published = {
            entry.key: frozenset(self._published.get(entry.key, ())) for entry in changed if not entry.queued
        }
        writes = [self._write(entry, published.get(entry.key, frozenset())) for entry in changed]
        stale: set[str] = set()
        try:
            with translate_driver_errors():
                await self.collection.bulk_write(writes, ordered=False, session=session)
        except BulkWriteError as error:
            stale = {changed[position].key for position in stale_writes(error)}
        for key in published.keys() - stale:
            self._cleaned(key, published[key])
        return stale

    async def get(self, key: str) -> M | None:
        """Return the state of one aggregate."""
        return (await self.fetch([key]))[key].state

    async def select(self, query: Document, limit: int, newest_first_by: str | None = None) -> list[M]:
        """Return the states of the documents that match a query."""
        cursor = self.collection.find(query).limit(limit)
        if newest_first_by:
            cursor = cursor.sort(newest_first_by, -1)
        states: list[M] = []
        with translate_driver_errors():
            async for document in cursor:
                with _skip_unreadable(document):
                    states.append(self._model.model_validate(document["state"]))
        return states

    async def due(self, limit: int) -> list[M]:
        """Return the aggregates that are due for a change by the clock."""
        return await self.select({"dueAt": {"$lte": self._clock()}}, limit)

    async def waiting(
        self, before: datetime, limit: int, after: str | None = None
    ) -> list[LoadedAggregate[M]]:
        """See `saga.timers.nudge.Waiting`."""
        query: Document = {"nudgeAt": {"$lte": before}}
        if after is not None:
            query["_id"] = {"$gt": after}
        order = "nudgeAt" if after is None else "_id"
        entries: list[LoadedAggregate[M]] = []
        with translate_driver_errors():
            async for document in self.collection.find(query).sort(order, 1).limit(limit):
                with _skip_unreadable(document):
                    entries.append(self.entry(document))
        return entries

    async def mark_nudged(self, entries: Collection[LoadedAggregate[M]]) -> None:
        """See `saga.timers.nudge.Waiting`."""
        writes = [
            UpdateOne(
                {"_id": entry.key, "version": entry.version, "nudgeAt": {"$exists": True}},
                {
                    "$set": {"nudgeAt": self._clock() + pause(self._nudge_after, entry.nudges + 1)},
                    "$inc": {"nudges": 1},
                },
            )
            for entry in entries
        ]
        if writes:
            with translate_driver_errors():
                await self.collection.bulk_write(writes, ordered=False)

    async def unpublished(self, before: datetime, limit: int) -> list[Event]:
        """Return events that have waited for the relay since before that moment, oldest first."""
        await self._clean_outboxes()
        events: list[Event] = []
        with translate_driver_errors():
            cursor = self.collection.find({"outbox.at": {"$lt": before}}, {"outbox": 1, "journal": 1})
            async for document in cursor.sort("outbox.at", 1).limit(limit):
                with _skip_unreadable(document):
                    events += self._unpublished_in(document, before)
        return events

    def _unpublished_in(self, document: Document, before: datetime) -> list[Event]:
        unpublished = {item["id"] for item in document["outbox"] if item["at"] < before}
        unpublished -= self._published.get(document["_id"], set())
        return [
            from_json(event)
            for record in document["journal"].values()
            for event in record["emitted"]
            if event["eventId"] in unpublished
        ]

    async def mark_published(self, events: Mapping[str, Collection[str]]) -> None:
        """Take these out of the outbox: event ids by aggregate.

        That costs no write of its own: it is part of the next change of the document, which mostly follows
        at once, or else of a later search for unpublished events. If the process ends before that, they are
        published once more, which changes nothing.
        """
        for key, ids in events.items():
            self._published.setdefault(key, set()).update(ids)

    async def _clean_outboxes(self) -> None:
        """Take out of the outbox what was published before the previous call and not written since."""
        published = {key: frozenset(self._published[key]) for key in self._overdue & self._published.keys()}
        if published:
            writes = [
                UpdateOne({"_id": key}, {"$pull": {"outbox": {"id": {"$in": list(ids)}}}})
                for key, ids in published.items()
            ]
            with translate_driver_errors():
                await self.collection.bulk_write(writes, ordered=False)
        for key, ids in published.items():
            self._cleaned(key, ids)
        self._overdue = set(self._published)

    def _cleaned(self, key: str, ids: Collection[str]) -> None:
        if left := self._published.get(key, set()).difference(ids):
            self._published[key] = left
        else:
            self._published.pop(key, None)

    async def ping(self) -> None:
        """Return once the database answers."""
        with translate_driver_errors():
            await self.collection.database.command("ping")

    def entry(self, document: Document) -> LoadedAggregate[M]:
        """Return the entry that a document holds."""
        return LoadedAggregate(
            key=document["_id"],
            version=document["version"],
            state=self._model.model_validate(document["state"]),
            journal={
                key: JournalEntry(record["name"], record["at"], record["emitted"])
                for key, record in document["journal"].items()
            },
            nudges=document.get("nudges", 0),
        )

    def _write(
        self, entry: LoadedAggregate[M], published: Collection[str]
    ) -> InsertOne[Document] | UpdateOne:
        """Return the write that changes a document, and fails for this entry alone if its version is stale.

        It fails with a duplicate `_id`: without `upsert`, a bulk write would only count one match less.
        """
        if entry.state is None:
            raise ValueError(f"{entry.key} has a record but no state")
        now = self._clock()
        values: dict[str, Any] = {
            "version": entry.version + 1,
            "updatedAt": now,
            "state": entry.state.model_dump(by_alias=True),
        }
        if entry.state.due_at:
            values["dueAt"] = entry.state.due_at
        if entry.state.unanswered_requests:
            values |= {"nudgeAt": now + self._nudge_after, "nudges": 0}
        records = {key: asdict(entry.journal[key]) for key in entry.changed}
        queued = [{"id": event_id, "at": now} for event_id in entry.queued]
        if not entry.version:
            return InsertOne({"_id": entry.key, **values, "journal": records, "outbox": queued})
        update: dict[str, Any] = {
            "$set": {**values, **{f"journal.{key}": record for key, record in records.items()}}
        }
        if absent := {"dueAt", "nudgeAt", "nudges"} - values.keys():
            update["$unset"] = dict.fromkeys(sorted(absent), "")
        if queued:
            update["$push"] = {"outbox": {"$each": queued}}
        elif published:
            update["$pull"] = {"outbox": {"id": {"$in": list(published)}}}
        return UpdateOne({"_id": entry.key, "version": entry.version}, update, upsert=True)


class PlainStore(Aggregates[M]):
    """The store of a service whose reactions need only the aggregate and the time (a `Store`)."""

    async def load(self, steps: Sequence[Step[M, datetime]]) -> UnitOfWork[M, datetime]:
        """Load the aggregates that the steps touch."""
        return UnitOfWork(await self.fetch({step.key for step in steps}), self._clock())

    async def save(self, unit: UnitOfWork[M, datetime]) -> set[str]:
        """Write what changed; return the stale keys."""
        return await self.write(unit.entries.values())

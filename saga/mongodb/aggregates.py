"""Aggregates in a MongoDB collection: one document each, replaced whole, if it has not changed since.

A document holds the aggregate's state, its version, and its journal: what it has handled, each entry with the
events that this caused, as the text that was published. `wakeAt`, in a sparse index, is its one timer: the
earliest time at which something has to be done that no message will do (`saga.timers.wake_ups`).

    {_id, version, updatedAt, wakeAt?, nudgeAt?, nudges?, state: {...},
     journal: [{id, name, at, status, emitted?: [text], unpublished?: [event id]}],
     posted?: [{id, listedAs?, totals?}]}

`posted` belongs to the ledger (`saga.mongodb.ledger`), stubs and a `wakeAt` that is a number to the archive
(`saga.mongodb.archive`).
"""

from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

import structlog
from pymongo import InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError

from saga.mongodb.archive import Archivist, resolve
from saga.mongodb.client import Document, DocumentCollection
from saga.mongodb.errors import stale_writes, translate_driver_errors
from saga.mongodb.ledger import Ledger
from saga.reactions.aggregate import Aggregate
from saga.reactions.step import Step
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate, Posting, UnitOfWork

log = structlog.get_logger()

M = TypeVar("M", bound=Aggregate)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Before every time that is stored."""
DUE_LIMIT = 10_000
"""Keys of due aggregates that are read at once: the embedded server reads all, whatever the limit."""
Write = InsertOne[Document] | ReplaceOne[Document]
RECORD_FIELDS = frozenset({"id", "name", "at", "status", "emitted", "unpublished"})


class Aggregates(Generic[M]):
    """The aggregates of one type.

    Every method that reads or writes raises `saga.errors.Unavailable` while the database cannot serve.
    """

    def __init__(
        self,
        collection: DocumentCollection,
        model: type[M],
        clock: Callable[[], datetime],
        archive_after: timedelta | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """`archive_after` is the time at rest after which an aggregate is archived; None: never."""
        self.collection = collection
        self.ledger = ledger
        self.archivist = Archivist(collection, archive_after, clock) if archive_after else None
        self._model = model
        self._clock = clock
        self._fields = frozenset(field.alias or name for name, field in model.model_fields.items())

    async def prepare(self) -> None:
        """Create the index of what has to be woken, in which no finished aggregate is."""
        with translate_driver_errors():
            await self.collection.create_index("wakeAt", sparse=True)
        if self.ledger:
            await self.ledger.prepare()

    @property
    def chores(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """See `saga.spec.ServiceStore`."""
        return [part.run for part in (self.ledger, self.archivist) if part]

    async def fetch(self, keys: Collection[str]) -> dict[str, LoadedAggregate[M]]:
        """Return an entry for each key, an empty one for a key without a document."""
        entries: dict[str, LoadedAggregate[M]] = {key: LoadedAggregate(key) for key in keys}
        if not entries:
            return entries
        with translate_driver_errors():
            found = [one async for one in self.collection.find({"_id": {"$in": list(entries)}})]
            for document in await resolve(self.collection, found):
                entries[document["_id"]] = self.entry(document)
        return entries

    async def readable(self, keys: Collection[str]) -> list[LoadedAggregate[M]]:
        """Return those of these aggregates that exist and can be read; the others are logged."""
        entries: list[LoadedAggregate[M]] = []
        with translate_driver_errors():
            found = [one async for one in self.collection.find({"_id": {"$in": list(keys)}})]
            for document in await resolve(self.collection, found):
                with _skip_unreadable(document):
                    entries.append(self.entry(document))
        return entries

    async def write(self, entries: Collection[LoadedAggregate[M]]) -> set[str]:
        """Write each changed entry unless its document has changed since; return the keys that were stale."""
        changed = [entry for entry in entries if entry.changed]
        if not changed:
            return set()
        announcement = await self.ledger.announce(changed) if self.ledger else None
        writes = [self._write(entry) for entry in changed]
        stale: set[str] = set()
        try:
            with translate_driver_errors():
                await self.collection.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            stale = {changed[position].key for position in stale_writes(error)}
        if self.ledger and announcement:
            self.ledger.written(announcement, {entry.key for entry in changed} - stale)
        return stale

    async def get(self, key: str) -> M | None:
        """Return the state of one aggregate."""
        return (await self.fetch([key]))[key].state

    async def due(self) -> list[str]:
        """Return the keys of the aggregates that have to be woken by now, the longest overdue first."""
        due = {"wakeAt": {"$gt": EPOCH, "$lte": self._clock()}}
        with translate_driver_errors():
            cursor = self.collection.find(due, {"_id": 1}).sort("wakeAt", 1)
            return [document["_id"] async for document in cursor.limit(DUE_LIMIT)]

    async def waking(self) -> list[str]:
        """Return the keys of all aggregates that have to be woken some day."""
        some_day = {"wakeAt": {"$gt": EPOCH}}
        with translate_driver_errors():
            return [document["_id"] async for document in self.collection.find(some_day, {"_id": 1})]

    async def ping(self) -> None:
        """Return once the database answers."""
        with translate_driver_errors():
            await self.collection.database.command("ping")

    def entry(self, document: Document) -> LoadedAggregate[M]:
        """Return the entry that a document holds."""
        state = document["state"]
        wake_at = document.get("wakeAt")
        return LoadedAggregate(
            key=document["_id"],
            version=document["version"],
            state=self._model.model_validate(state),
            journal={record["id"]: _read_record(record) for record in document["journal"]},
            updated_at=document["updatedAt"],
            wake_at=wake_at if isinstance(wake_at, datetime) else None,
            nudge_at=document.get("nudgeAt"),
            nudges=document.get("nudges", 0),
            posted=tuple(_read_posting(posting) for posting in document.get("posted", ())),
            unknown={name: state[name] for name in state.keys() - self._fields},
        )

    def _write(self, entry: LoadedAggregate[M]) -> Write:
        """Return the write of a document, which fails for this entry alone if its version is stale.

        It fails with a duplicate `_id`: without `upsert`, a bulk write would only count one match less. A
        document that is deleted between load and write comes back, whole.
        """
        document = self.document(entry)
        if not entry.version:
            return InsertOne(document)
        return ReplaceOne({"_id": entry.key, "version": entry.version}, document, upsert=True)

    def document(self, entry: LoadedAggregate[M]) -> Document:
        """Return the document that an entry is written as."""
        if entry.state is None:
            raise ValueError(f"{entry.key} has a record but no state")
        document: Document = {
            "_id": entry.key,
            "version": entry.version + 1,
            "updatedAt": self._clock(),
            "state": {**entry.unknown, **entry.state.model_dump(by_alias=True, exclude_none=True)},
            "journal": [_record_document(key, record) for key, record in entry.journal.items()],
        }
        if entry.wake_at:
            document["wakeAt"] = entry.wake_at
        elif self.archivist and entry.state.at_rest:
            document["wakeAt"] = self.archivist.timer()
        if entry.nudge_at:
            document |= {"nudgeAt": entry.nudge_at, "nudges": entry.nudges}
        if entry.posted:
            document["posted"] = [_posting_document(posting) for posting in entry.posted]
        return document


class PlainStore(Aggregates[M]):
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


@contextmanager
def _skip_unreadable(document: Document) -> Iterator[None]:
    """Log a document that cannot be read, perhaps one of another version, instead of hiding the others."""
    try:
        yield
    except (ValueError, LookupError, TypeError):
        log.exception("unreadable_document", order_id=document["_id"])


def _read_record(record: Document) -> JournalEntry:
    return JournalEntry(
        record["name"],
        record["at"],
        record["status"],
        tuple(record.get("emitted", ())),
        tuple(record.get("unpublished", ())),
        {name: record[name] for name in record.keys() - RECORD_FIELDS},
    )


def _record_document(key: str, record: JournalEntry) -> Document:
    document = {**record.unknown, "id": key, "name": record.name, "at": record.at, "status": record.status}
    if record.emitted:
        document["emitted"] = record.emitted
    if record.unpublished:
        document["unpublished"] = record.unpublished
    return document


def _read_posting(posting: Document) -> Posting:
    return Posting(posting["id"], posting.get("listedAs"), posting.get("totals", {}))


def _posting_document(posting: Posting) -> Document:
    document: Document = {"id": posting.id}
    if posting.listed_as:
        document["listedAs"] = posting.listed_as
    if posting.totals:
        document["totals"] = posting.totals
    return document

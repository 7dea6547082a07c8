"""Aggregates in a MongoDB collection: one query to load a batch, one guarded bulk write to save it.

A document holds the aggregate's state, its version, a journal of what it has handled and what it emitted
for each, the outbox: ids of emitted events that no message would publish again, and, while the clock may
have to change it, when; while somebody owes it an answer, when to ask again, and how often that was done.

    {_id, version, updatedAt, dueAt?, nudgeAt?, nudges?, state: {...},
     journal: {<event id>: {name, at, emitted: [...]}}, outbox: [{id, at}]}
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qs, urlsplit

import structlog
from bson import CodecOptions, Decimal128
from bson.codec_options import TypeCodec, TypeRegistry
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)
from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, ConnectionFailure, ExecutionTimeout, OperationFailure

from events.catalogue import Event
from events.codec import from_json
from saga.errors import Unavailable
from saga.reactions.aggregate import Aggregate
from saga.reactions.step import JournalEntry, LoadedAggregate, Step
from saga.reactions.store import Document, UnitOfWork
from saga.timers.nudge import pause

log = structlog.get_logger()

M = TypeVar("M", bound=Aggregate)

NUDGE_AFTER = timedelta(minutes=1)
DUPLICATE_KEY = 11000
# Codes of a server that does not let us: not authorized, authentication failed.
_REFUSED = {13, 18}
# Codes of a server that is there but cannot serve now: shutting down, stepping down, no primary.
_NOT_NOW = {11600, 11602, 10107, 13435, 13436, 189, 91, 7, 6, 89, 9001, 262}

Database = AsyncIOMotorDatabase[Document]
Collection_ = AsyncIOMotorCollection[Document]
Session = AsyncIOMotorClientSession


class _Decimals(TypeCodec):
    python_type = Decimal
    bson_type = Decimal128

    def transform_python(self, value: Decimal) -> Decimal128:
        return Decimal128(value)

    def transform_bson(self, value: Decimal128) -> Decimal:
        return value.to_decimal()


def connect(url: str, timeout: float = 5.0) -> AsyncIOMotorClient[Document]:
    """Return a client; nothing is sent yet.

    `timeout` (s) limits the search for a server, and twice that each answer, where the URL does not say. Nor
    may it be left to the server what counts as written: what is read has been written by the majority, and so
    has what is acknowledged, since messages are acknowledged for it.
    """
    options = {
        "serverSelectionTimeoutMS": round(timeout * 1000),
        "connectTimeoutMS": round(timeout * 1000),
        "socketTimeoutMS": round(timeout * 2000),
        "w": "majority",
        "readConcernLevel": "majority",
    }
    said = {name.lower() for name in parse_qs(urlsplit(url).query)}
    missing: dict[str, Any] = {name: value for name, value in options.items() if name.lower() not in said}
    return AsyncIOMotorClient(url, tz_aware=True, **missing)


def database(client: AsyncIOMotorClient[Document], name: str) -> Database:
    """Return a database whose numbers with a fraction are Decimal and whose times are UTC."""
    options: CodecOptions[Document] = CodecOptions(tz_aware=True, type_registry=TypeRegistry([_Decimals()]))
    return client.get_database(name, codec_options=options)


@contextmanager
def available() -> Iterator[None]:
    """Turn the driver's ways to say that the database is away into `Unavailable`."""
    try:
        yield
    except (ConnectionFailure, ExecutionTimeout) as error:
        raise Unavailable(_why(error)) from error
    except OperationFailure as error:
        if error.code in _NOT_NOW:
            raise Unavailable(f"the database is away: {error}") from error
        if error.code in _REFUSED:
            raise Unavailable(_why(error)) from error
        raise


def _why(error: Exception) -> str:
    return explain_rejection(error) or f"the database is away: {gist(error)}"


def explain_rejection(error: Exception) -> str | None:
    """Return in a line what waiting does not mend, and what does; None: the database is only away."""
    told = gist(error)
    if "CERTIFICATE_VERIFY_FAILED" in told:
        return (
            f"the database's certificate is not accepted ({told}): MONGODB_CA_FILE has to name the authority "
            "that issued it, and the URL a host that is named in it"
        )
    # Once a login has failed, the driver tells of it as of a server that cannot be found.
    if getattr(error, "code", None) in _REFUSED or "authentication failed" in told.lower():
        return (
            f"the database refuses ({told}): it has to know this user, password and these rights, which "
            "`saga database users` gives"
        )
    return None


def gist(error: Exception) -> str:
    """Return what the driver says, without all that it appends."""
    return re.split(r"\n|, Timeout:|, full error:", str(error))[0] or type(error).__name__


@contextmanager
def _readable(document: Document) -> Iterator[None]:
    """Let one document that cannot be understood, written by another version perhaps, not hide the others."""
    try:
        yield
    except (ValueError, LookupError, TypeError):
        log.exception("unreadable_document", order_id=document["_id"])


class Aggregates(Generic[M]):
    """The aggregates of one type, each in one document with its journal and its outbox."""

    def __init__(
        self,
        collection: Collection_,
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
        """Create the indexes that relay and sweepers read by; most documents are in neither."""
        with available():
            await self.collection.create_index("outbox.at", sparse=True)
            await self.collection.create_index("dueAt", sparse=True)
            await self.collection.create_index("nudgeAt", sparse=True)

    async def fetch(
        self, keys: Collection[str], session: Session | None = None
    ) -> dict[str, LoadedAggregate[M]]:
        """Return an entry for each key, an empty one for what does not exist."""
        entries: dict[str, LoadedAggregate[M]] = {key: LoadedAggregate(key) for key in keys}
        with available():
            async for document in self.collection.find({"_id": {"$in": list(entries)}}, session=session):
                entries[document["_id"]] = self.entry(document)
        return entries

    async def write(
        self, entries: Collection[LoadedAggregate[M]], session: Session | None = None
    ) -> set[str]:
        """Write the changed entries, each only if nobody wrote it since; return the keys that were stale."""
        changed = [entry for entry in entries if entry.touched]
        if not changed:
            return set()
        done = {
            entry.key: frozenset(self._published.get(entry.key, ())) for entry in changed if not entry.queued
        }
        writes = [self._write(entry, done.get(entry.key, frozenset())) for entry in changed]
        stale: set[str] = set()
        try:
            with available():
                await self.collection.bulk_write(writes, ordered=False, session=session)
        except BulkWriteError as error:
            failures = error.details["writeErrors"]
            undone = error.details["writeConcernErrors"] or not failures
            if undone or any(failure["code"] in _NOT_NOW for failure in failures):
                raise Unavailable(f"the database is away: {error.details}") from error
            if any(failure["code"] != DUPLICATE_KEY for failure in failures):
                raise
            stale = {changed[failure["index"]].key for failure in failures}
        for key in done.keys() - stale:
            self._forgotten(key, done[key])
        return stale

    async def get(self, key: str) -> M | None:
        """Return the state of one aggregate."""
        return (await self.fetch([key]))[key].state

    async def select(self, chosen: Document, limit: int, newest_first_by: str | None = None) -> list[M]:
        """Return the states of the documents that match a query."""
        cursor = self.collection.find(chosen).limit(limit)
        if newest_first_by:
            cursor = cursor.sort(newest_first_by, -1)
        states: list[M] = []
        with available():
            async for document in cursor:
                with _readable(document):
                    states.append(self._model.model_validate(document["state"]))
        return states

    async def due(self, limit: int) -> list[M]:
        """Return aggregates that the clock has to change by now."""
        return await self.select({"dueAt": {"$lte": self._clock()}}, limit)

    async def waiting(
        self, before: datetime, limit: int, after: str | None = None
    ) -> list[LoadedAggregate[M]]:
        """See `saga.reactions.store.Waiting`."""
        chosen: Document = {"nudgeAt": {"$lte": before}}
        if after is not None:
            chosen["_id"] = {"$gt": after}
        order = "nudgeAt" if after is None else "_id"
        entries: list[LoadedAggregate[M]] = []
        with available():
            async for document in self.collection.find(chosen).sort(order, 1).limit(limit):
                with _readable(document):
                    entries.append(self.entry(document))
        return entries

    async def nudged(self, entries: Collection[LoadedAggregate[M]]) -> None:
        """See `saga.reactions.store.Waiting`."""
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
            with available():
                await self.collection.bulk_write(writes, ordered=False)

    async def unpublished(self, before: datetime, limit: int) -> list[Event]:
        """Return events that have waited for the relay since before that moment, oldest first."""
        await self._forget()
        events: list[Event] = []
        with available():
            cursor = self.collection.find({"outbox.at": {"$lt": before}}, {"outbox": 1, "journal": 1})
            async for document in cursor.sort("outbox.at", 1).limit(limit):
                with _readable(document):
                    events += self._waiting(document, before)
        return events

    def _waiting(self, document: Document, before: datetime) -> list[Event]:
        waiting = {item["id"] for item in document["outbox"] if item["at"] < before}
        waiting -= self._published.get(document["_id"], set())
        return [
            from_json(event)
            for record in document["journal"].values()
            for event in record["emitted"]
            if event["eventId"] in waiting
        ]

    async def published(self, events: Mapping[str, Collection[str]]) -> None:
        """Forget these as unpublished: event ids by aggregate.

        That is not worth a write of its own: it goes with the next change of the document, which mostly
        follows at once, or else with a later look for unpublished events. Should the process end before
        that, they are published once more, which changes nothing.
        """
        for key, ids in events.items():
            self._published.setdefault(key, set()).update(ids)

    async def _forget(self) -> None:
        """Forget what was published before the last time this was called, and has not been changed since."""
        done = {key: frozenset(self._published[key]) for key in self._overdue & self._published.keys()}
        if done:
            writes = [
                UpdateOne({"_id": key}, {"$pull": {"outbox": {"id": {"$in": list(ids)}}}})
                for key, ids in done.items()
            ]
            with available():
                await self.collection.bulk_write(writes, ordered=False)
        for key, ids in done.items():
            self._forgotten(key, ids)
        self._overdue = set(self._published)

    def _forgotten(self, key: str, ids: Collection[str]) -> None:
        if left := self._published.get(key, set()).difference(ids):
            self._published[key] = left
        else:
            self._published.pop(key, None)

    async def ping(self) -> None:
        """Return if the database answers."""
        with available():
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

    def _write(self, entry: LoadedAggregate[M], done: Collection[str]) -> InsertOne[Document] | UpdateOne:
        """Return the write that changes a document, or fails for this very entry if its version is stale.

        That failure is a duplicate `_id`: a bulk write would only count one match less.
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
        records = {key: asdict(entry.journal[key]) for key in entry.touched}
        queued = [{"id": event_id, "at": now} for event_id in entry.queued]
        if not entry.version:
            return InsertOne({"_id": entry.key, **values, "journal": records, "outbox": queued})
        update: dict[str, Any] = {
            "$set": {**values, **{f"journal.{key}": record for key, record in records.items()}}
        }
        if gone := {"dueAt", "nudgeAt", "nudges"} - values.keys():
            update["$unset"] = dict.fromkeys(sorted(gone), "")
        if queued:
            update["$push"] = {"outbox": {"$each": queued}}
        elif done:
            update["$pull"] = {"outbox": {"id": {"$in": list(done)}}}
        return UpdateOne({"_id": entry.key, "version": entry.version}, update, upsert=True)


class PlainStore(Aggregates[M]):
    """The store of a service whose reactions need only the time beside the aggregate (a `Store`)."""

    async def load(self, steps: Sequence[Step[M, datetime]]) -> UnitOfWork[M, datetime]:
        """Load the aggregates that the steps touch."""
        return UnitOfWork(await self.fetch({step.key for step in steps}), self._clock())

    async def save(self, unit: UnitOfWork[M, datetime]) -> set[str]:
        """Write what changed; return the stale keys."""
        return await self.write(unit.entries.values())

"""The archive of a service: what has been at rest for long, moved whole into a collection of its own.

The document is copied to `<collection>_archive`, under the same `_id`, and then replaced, if it has not
changed since, by a stub `{_id, version, archived: true}`. The stub keeps the version, so that no stale write
can bring the document back, and the key, so that nothing can be created in its place. A reader that meets a
stub reads the copy; what then changes is written whole in place of the stub.

The timer of a document at rest is `wakeAt`, as a number (ms since 1970): that of all others is a date, and
queries compare within one type only. So one index serves both, and none finds the other's.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

import structlog
from pymongo import ReplaceOne

from saga.errors import Unavailable
from saga.mongodb.client import Document, DocumentCollection
from saga.mongodb.errors import translate_driver_errors

log = structlog.get_logger()

ARCHIVE_EVERY = 60.0
"""Seconds between two searches for what has to be archived."""
ARCHIVE_BATCH = 100


def archive_of(collection: DocumentCollection) -> DocumentCollection:
    """Return the collection that holds the archived documents of this one."""
    return collection.database[f"{collection.name}_archive"]


async def resolve(collection: DocumentCollection, documents: Sequence[Document]) -> list[Document]:
    """Return documents with the archived ones in place of their stubs, each with its stub's version.

    Raises:
        LookupError: the archive lacks one.
    """
    stubs = {one["_id"]: one["version"] for one in documents if one.get("archived")}
    if not stubs:
        return list(documents)
    whole = {one["_id"]: one async for one in archive_of(collection).find({"_id": {"$in": list(stubs)}})}
    if missing := stubs.keys() - whole.keys():
        raise LookupError(f"{archive_of(collection).name} lacks {min(missing)}")
    return [
        {**whole[one["_id"]], "version": one["version"]} if one["_id"] in stubs else one for one in documents
    ]


class Archivist:
    """Archives the documents of one collection that have been at rest for a time; any replica may do it."""

    def __init__(
        self, collection: DocumentCollection, after: timedelta, clock: Callable[[], datetime]
    ) -> None:
        self._collection = collection
        self.archive = archive_of(collection)
        self._after = after
        self._clock = clock

    def timer(self) -> int:
        """Return the timer of a document that comes to rest now."""
        return _milliseconds(self._clock() + self._after)

    async def run(self) -> None:
        """Archive what is due every minute, until cancelled."""
        while True:
            await asyncio.sleep(ARCHIVE_EVERY)
            try:
                if number := await self.archive_due():
                    log.info("archived", collection=self._collection.name, documents=number)
            except Unavailable as why:
                log.warning("archiving_postponed", reason=str(why))
            except Exception:
                log.exception("archiving_failed")

    async def archive_due(self) -> int:
        """Archive what is due; return the number of documents.

        Raises:
            Unavailable: the database cannot serve; what is archived so far stays archived.
        """
        due = {"wakeAt": {"$gt": 0, "$lte": _milliseconds(self._clock())}}
        number = 0
        with translate_driver_errors():
            cursor = self._collection.find(due, {"_id": 1}).sort("wakeAt", 1)
            keys = [document["_id"] async for document in cursor]
            for first in range(0, len(keys), ARCHIVE_BATCH):
                number += await self._archive_these(keys[first : first + ARCHIVE_BATCH])
        return number

    async def _archive_these(self, keys: Collection[str]) -> int:
        found = self._collection.find({"_id": {"$in": list(keys)}})
        resting = [document async for document in found if isinstance(document.get("wakeAt"), int)]
        if not resting:
            return 0
        copies = [ReplaceOne({"_id": document["_id"]}, _copy(document), upsert=True) for document in resting]
        await self.archive.bulk_write(copies, ordered=False)
        # Without upsert: a document that has changed since is not archived.
        stubs = [
            ReplaceOne({"_id": document["_id"], "version": document["version"]}, _stub(document))
            for document in resting
        ]
        result = await self._collection.bulk_write(stubs, ordered=False)
        return int(result.matched_count)


def _copy(document: Document) -> Document:
    return {name: value for name, value in document.items() if name not in ("_id", "wakeAt")}


def _stub(document: Document) -> Document:
    stub: Document = {"version": document["version"] + 1, "archived": True}
    if posted := document.get("posted"):
        stub["posted"] = posted
    return stub


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)

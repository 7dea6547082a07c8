"""The ledger of a service: running totals, and lists of what has ended, without an index and without a clock.

Before a batch is written that changes what an aggregate adds to the totals, or that ends it, the changes are
announced: a document is inserted, whose id each of the written documents carries. So any process can decide
at any time whether an announced change was made. The aggregate carries the id: it was. It has the announced
version without the id: it never will be, since the guarded write must fail. Otherwise, it is still open.
Folding moves the changes that were made into the totals and the lists, in one transaction.

    <collection>_announced: {_id, changes: [{key, version, list?, at?, totals?: {name: difference}}]}
    <collection>_ledger:    {_id: "head", totals: {name: sum}, listed: {list: number}}
                            {_id: "<list>/<page>", entries: [{key, at}]}
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import structlog
from bson import ObjectId

from saga.errors import SagaError, Unavailable
from saga.mongodb.client import Document, DocumentCollection, Session
from saga.mongodb.errors import translate_driver_errors
from saga.reactions.aggregate import Aggregate
from saga.reactions.unit_of_work import LoadedAggregate, Posting

log = structlog.get_logger()

POSTED = {"version": 1, "posted.id": 1}
ZERO = Decimal(0)
PAGE = 200
"""Entries of a page of a list."""
FOLD_LIMIT = 500
"""Announcements folded in one transaction."""
FOLD_EVERY = 5.0
"""Seconds between two folds, if there is something to fold; reading folds as well."""
FOLD_TRIES = 5
"""How often a fold starts over since another process was faster; that one has counted what was there."""


class Overtaken(SagaError):
    """Another process has folded the same announcements."""


@dataclass(frozen=True, slots=True)
class Folding:
    """What can be said of some announcements."""

    made: Sequence[Document]
    """The changes that were made."""
    done: Sequence[str]
    """Announcements of which nothing is open."""
    shortened: Mapping[str, Sequence[Document]]
    """What is open in others of which something is not."""


def announcements_of(collection: DocumentCollection) -> DocumentCollection:
    """Return the collection with the announcements of this one's aggregates."""
    return collection.database[f"{collection.name}_announced"]


def ledger_of(collection: DocumentCollection) -> DocumentCollection:
    """Return the collection with the totals and lists of this one's aggregates."""
    return collection.database[f"{collection.name}_ledger"]


def keys_of(announced: Sequence[Document]) -> list[str]:
    """Return the keys of the aggregates whose `POSTED` fields decide what was made of these announcements."""
    return list({change["key"] for one in announced for change in one["changes"]})


def decide(
    announced: Sequence[Document],
    stored: Mapping[str, Document],
    outcomes: Mapping[str, Collection[str]] | None = None,
) -> Folding:
    """Decide what was made, by the stored aggregates, read after the announcements.

    `outcomes` has the keys that were written, for announcements of which that is known.
    """
    made: list[Document] = []
    done: list[str] = []
    shortened: dict[str, list[Document]] = {}
    for one in announced:
        open_: list[Document] = []
        for change in one["changes"]:
            if outcomes and one["_id"] in outcomes:
                if change["key"] in outcomes[one["_id"]]:
                    made.append(change)
                continue
            document = stored.get(change["key"], {"version": 0})
            if any(posted["id"] == one["_id"] for posted in document.get("posted", ())):
                made.append(change)
            elif document["version"] < change["version"]:
                open_.append(change)
        if not open_:
            done.append(one["_id"])
        elif len(open_) < len(one["changes"]):
            shortened[one["_id"]] = open_
    return Folding(made, done, shortened)


def add(changes: Sequence[Document], totals: dict[str, Decimal], listed: dict[str, int]) -> None:
    """Add changes to the totals, and to the lengths of the lists."""
    for change in changes:
        for name, difference in change.get("totals", {}).items():
            totals[name] = totals.get(name, ZERO) + difference
        if name := change.get("list"):
            listed[name] = listed.get(name, 0) + 1


class Ledger:
    """The ledger of the aggregates in one collection.

    Every method but `run` raises `saga.errors.Unavailable` while the database cannot serve.
    """

    def __init__(self, collection: DocumentCollection) -> None:
        self._aggregates = collection
        self._announced = announcements_of(collection)
        self._ledger = ledger_of(collection)
        self._turn = asyncio.Lock()
        self._outcomes: dict[str, frozenset[str]] = {}
        """The keys that were written, for announcements of this process, so that nothing is read again."""

    async def prepare(self) -> None:
        """Create the collections, which a transaction could not create."""
        empty: Document = {"$setOnInsert": {"totals": {}, "listed": {}}}
        with translate_driver_errors():
            await self._ledger.update_one({"_id": "head"}, empty, upsert=True)

    async def announce(self, entries: Collection[LoadedAggregate[Any]]) -> str | None:
        """Announce what the write of these changes in the ledger, and have their documents say so.

        Return the id of the announcement, None if they change nothing.
        """
        announcement = str(ObjectId())
        changes: list[Document] = []
        for entry in entries:
            if change := _change(entry):
                changes.append(change)
                entry.posted = (*entry.posted, _posting(announcement, entry))
        if not changes:
            return None
        await self.record(announcement, changes)
        return announcement

    async def record(self, announcement: str, changes: Sequence[Document]) -> None:
        """Insert an announcement."""
        with translate_driver_errors():
            await self._announced.insert_one({"_id": announcement, "changes": list(changes)})

    def written(self, announcement: str, keys: Collection[str]) -> None:
        """Take note of which of the announced aggregates were written: these, and no other."""
        self._outcomes[announcement] = frozenset(keys)

    async def totals(self) -> dict[str, Decimal]:
        """Return the totals of everything that was written before this call."""
        await self.fold()
        with translate_driver_errors():
            return dict((await self._head())["totals"])

    async def newest(self, lists: Sequence[str], limit: int) -> list[tuple[datetime, str]]:
        """Return the newest that ended last in these lists, with the time that they are sorted by."""
        await self.fold()
        pages = []
        with translate_driver_errors():
            listed = (await self._head())["listed"]
            for name in lists:
                last = listed.get(name, 0) - 1
                first = max(0, last - limit + 1)
                pages += [_page(name, number) for number in range(first // PAGE, last // PAGE + 1)]
            found = [page async for page in self._ledger.find({"_id": {"$in": pages}})]
        entries = [(entry["at"], entry["key"]) for page in found for entry in page["entries"]]
        return sorted(entries, reverse=True)[:limit]

    async def run(self) -> None:
        """Fold now and then, until cancelled."""
        while True:
            await asyncio.sleep(FOLD_EVERY)
            try:
                if self._outcomes:
                    await self.fold()
            except Unavailable as why:
                log.warning("fold_postponed", reason=str(why))
            except Exception:
                log.exception("fold_failed")

    async def fold(self) -> None:
        """Move what was announced and made into the totals and the lists."""
        async with self._turn:
            for _ in range(FOLD_TRIES):
                with suppress(Overtaken):
                    await self._fold()
                    return

    async def _fold(self) -> None:
        remembered = list(self._outcomes)
        with translate_driver_errors():
            announced = [one async for one in self._announced.find()]
            for first in range(0, len(announced), FOLD_LIMIT):
                folding = await self._decide(announced[first : first + FOLD_LIMIT])
                if folding.done or folding.shortened:
                    async with await self._ledger.database.client.start_session() as session:
                        await session.with_transaction(partial(self._move, folding))
        for one in remembered:
            self._outcomes.pop(one, None)

    async def _decide(self, announced: Sequence[Document]) -> Folding:
        unknown = [one for one in announced if one["_id"] not in self._outcomes]
        stored: dict[str, Document] = {}
        if keys := keys_of(unknown):
            found = self._aggregates.find({"_id": {"$in": keys}}, POSTED)
            stored = {document["_id"]: document async for document in found}
        return decide(announced, stored, self._outcomes)

    async def _move(self, folding: Folding, session: Session) -> None:
        deleted = await self._announced.delete_many({"_id": {"$in": list(folding.done)}}, session=session)
        if deleted.deleted_count != len(folding.done):
            raise Overtaken
        for announcement, open_ in folding.shortened.items():
            longer = {"_id": announcement, f"changes.{len(open_)}": {"$exists": True}}
            result = await self._announced.update_one(
                longer, {"$set": {"changes": list(open_)}}, session=session
            )
            if result.matched_count != 1:
                raise Overtaken
        head = await self._head(session)
        pages: dict[str, list[Document]] = {}
        for change in folding.made:
            if name := change.get("list"):
                page = _page(name, head["listed"].get(name, 0) // PAGE)
                pages.setdefault(page, []).append({"key": change["key"], "at": change["at"]})
            add([change], head["totals"], head["listed"])
        await self._ledger.replace_one({"_id": "head"}, head, upsert=True, session=session)
        for page, entries in pages.items():
            push = {"$push": {"entries": {"$each": entries}}}
            await self._ledger.update_one({"_id": page}, push, upsert=True, session=session)

    async def _head(self, session: Session | None = None) -> Document:
        head = await self._ledger.find_one({"_id": "head"}, session=session)
        return head or {"_id": "head", "totals": {}, "listed": {}}


def _posting(announcement: str, entry: LoadedAggregate[Aggregate]) -> Posting:
    listing = entry.state.listing if entry.state else None
    return Posting(announcement, listing.name if listing else None, entry.state.totals if entry.state else {})


def _change(entry: LoadedAggregate[Aggregate]) -> Document | None:
    """Return what the write of an entry changes in the ledger."""
    if entry.state is None:
        return None
    before = entry.posted[-1] if entry.posted else Posting("", None, {})
    totals, listing = entry.state.totals, entry.state.listing
    change: Document = {"key": entry.key, "version": entry.version + 1}
    if totals != before.totals:
        names = dict.fromkeys([*before.totals, *totals])
        change["totals"] = {name: totals.get(name, ZERO) - before.totals.get(name, ZERO) for name in names}
    if listing and listing.name != before.listed_as:
        change |= {"list": listing.name, "at": listing.at}
    return change if len(change) > 2 else None


def _page(name: str, number: int) -> str:
    return f"{name}/{number}"

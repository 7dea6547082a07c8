"""Reads the three services' databases, in the order of the order ids, without ever holding all of it.

Nothing is written. Whole documents are read, with plain `find`: most of a document is its journal, which is
needed, and neither projections nor aggregations make reading cheaper for the embedded server, which runs them
in the same thread as all writes.
"""

import gc
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, get_args

from events.catalogue import INVENTORY, ORDER, PAYMENT
from inventory_service.mongo_store import LEVEL_NUMBERS
from inventory_service.reservation import Reservation
from inventory_service.stock import StockKey
from operations.registry import SPECS
from order_service.order import TERMINAL, Order, OrderStatus
from payment_service.payment import Payment
from saga.mongodb.aggregates import EPOCH
from saga.mongodb.archive import archive_of
from saga.mongodb.client import Client, Document, connect, database
from saga.mongodb.ledger import POSTED, add, announcements_of, decide, keys_of, ledger_of
from saga.settings import read
from verification.audit.documents import Unreadable, snapshot
from verification.invariants.books import listed
from verification.invariants.case import Case, Snapshot
from verification.invariants.names import Finding, Invariant
from verification.invariants.stock import StockBook, StockLevel

BATCH = 2000
UNFINISHED = [status for status in get_args(OrderStatus) if status not in (*TERMINAL, "refundPending")]
LEDGER_READS = 5
"""How often a ledger is read until it stands still."""
GARBAGE = 200_000
"""Objects that may be allocated before the garbage collector runs."""
SOON = timedelta(days=1)
"""Payments that the provider is asked about later than that wait for a person."""
ANSWER_SECONDS = 60.0
"""Seconds that the database may take to answer the first read."""


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """The URL of a server, and the name of a database there."""

    url: str
    name: str


@dataclass(frozen=True, slots=True)
class Databases:
    """Where each service's database is: on one server, or on a server each."""

    order: DatabaseAddress
    inventory: DatabaseAddress
    payment: DatabaseAddress

    @property
    def urls(self) -> list[str]:
        """The URL of each server, once."""
        return list(dict.fromkeys(one.url for one in (self.order, self.inventory, self.payment)))


def databases_at(servers: Mapping[str, str]) -> Databases:
    """Return the databases that the services use with the settings in this environment.

    `servers` has the URL of each service's database server.
    """

    def address(service: str) -> DatabaseAddress:
        return DatabaseAddress(servers[service], read(SPECS[service].settings).database)

    return Databases(address(ORDER), address(INVENTORY), address(PAYMENT))


@dataclass(frozen=True, slots=True)
class Scope:
    """Some orders, and the products that only they have ordered."""

    order_ids: Collection[str]
    products: Collection[str]


@dataclass(slots=True)
class DocumentRow:
    """What was read under one order id; `unreadable` documents are not part of the case."""

    case: Case
    unreadable: list[Finding] = field(default_factory=list)


class Reader:
    """An open connection to the three databases."""

    def __init__(self, databases: Databases, pool: Executor, clients: Mapping[str, Client]) -> None:
        """`clients` has one for each server's URL."""
        self._pool = pool
        # The driver behind Motor, without its event loop: a few threads are enough here.
        self._orders, self._inventory, self._payments = (
            database(clients[one.url], one.name).delegate
            for one in (databases.order, databases.inventory, databases.payment)
        )

    @property
    def _collections(self) -> tuple[Any, Any, Any]:
        return self._orders["orders"], self._inventory["reservations"], self._payments["payments"]

    def count(self) -> int:
        """Return about how many documents there are."""
        return sum(collection.estimated_document_count() for collection in self._collections)

    def unfinished(self) -> Counter[str]:
        """Return what has not come to rest, by name, from indexes alone."""
        found: Counter[str] = Counter()
        orders, _, payments = self._collections
        ever = {"wakeAt": {"$gt": EPOCH}}
        for order in orders.find({**ever, "state.status": {"$in": UNFINISHED}}, {"state.status": 1}):
            found[f"orders {order['state']['status']}"] += 1
        asked = payments.find({**ever, "state.nextAttemptAt": {"$lt": datetime.now(UTC) + SOON}}, {"_id": 1})
        found["payments in progress"] = _length(asked)
        for collection in self._collections:
            unpublished = collection.find({**ever, "journal.unpublished": {"$exists": True}}, {"_id": 1})
            found[f"{collection.name} with unpublished events"] = _length(unpublished)
        return +found

    def orders(self) -> int:
        """Return about how many orders there are."""
        return int(self._collections[0].estimated_document_count())

    def everything(self) -> Iterator[DocumentRow]:
        """Return all cases, in the order of their ids."""
        streams = [self._stream(collection) for collection in self._collections]
        return (_row(key, *documents) for key, documents in side_by_side(streams))

    def some(self, order_ids: Collection[str]) -> Iterator[DocumentRow]:
        """Return the cases of these orders."""
        keys = iter(sorted(order_ids))
        while batch := list(islice(keys, BATCH)):
            found = [
                {one["_id"]: one for one in _whole(collection, collection.find({"_id": {"$in": batch}}))}
                for collection in self._collections
            ]
            yield from (_row(key, *(documents.get(key) for documents in found)) for key in batch)

    def ledgers(self) -> dict[str, dict[str, Decimal]]:
        """Return the sums in the ledgers, with what is announced and made, by service."""
        orders, _, payments = self._collections
        return {ORDER: _ledger(orders), PAYMENT: _ledger(payments)}

    def levels(self, products: Collection[str] | None = None) -> dict[StockKey, StockLevel]:
        """Return the stock levels, of these products or of all."""
        chosen = {} if products is None else {"productId": {"$in": list(products)}}
        return {
            (one["warehouseId"], one["productId"]): StockLevel(
                **{name: one.get(name, 0) for name in LEVEL_NUMBERS}
            )
            for one in self._inventory["stock"].find(chosen)
        }

    def stock_book(self, products: Collection[str]) -> StockBook:
        """Add up the reservations of these products."""
        book = StockBook()
        chosen = {
            "state.status": {"$in": ["held", "allocated"]},
            "state.lines.productId": {"$in": list(products)},
        }
        reservations = self._inventory["reservations"]
        for document in reservations.find(chosen):
            with suppress(Unreadable):  # reported by its case
                book.add(snapshot(document, Reservation).state)
        archive: Any = archive_of(reservations)
        copies = {one["_id"]: one for one in archive.find(chosen)}
        # A copy counts only as long as a stub refers to it.
        for stub in reservations.find({"_id": {"$in": list(copies)}, "archived": True}):
            with suppress(Unreadable):
                book.add(snapshot(copies[stub["_id"]], Reservation).state)
        return book

    def _stream(self, collection: Any) -> Iterator[Document]:
        """Return every document by id; the next batch is fetched while this one is judged."""
        # MongoDB walks this index anyway. Without the hint the embedded server sorts the documents, slowly.
        with collection.find().sort("_id", 1).hint("_id_").batch_size(BATCH) as cursor:
            batch = self._pool.submit(_take, collection, cursor)
            while documents := batch.result():
                batch = self._pool.submit(_take, collection, cursor)
                yield from documents


@contextmanager
def reading(databases: Databases) -> Iterator[Reader]:
    """Open the databases for reading while the block runs."""
    with ExitStack() as opened:
        clients = {url: opened.enter_context(closing(connect(url, ANSWER_SECONDS))) for url in databases.urls}
        with ThreadPoolExecutor(3, thread_name_prefix="audit") as pool, _rare_garbage_collection():
            yield Reader(databases, pool, clients)


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Collect garbage rarely: documents are many objects without reference cycles."""
    before = gc.get_threshold()
    gc.set_threshold(GARBAGE)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def side_by_side(
    streams: Sequence[Iterable[Document]],
) -> Iterator[tuple[str, list[Document | None]]]:
    """Merge streams of documents, each sorted by id; return, for each id, what every stream has under it."""
    iterators = [iter(stream) for stream in streams]
    heads = [next(iterator, None) for iterator in iterators]
    while any(head is not None for head in heads):
        key = min((head["_id"] for head in heads if head is not None), key=_rank)
        same = [head is not None and head["_id"] == key for head in heads]
        yield str(key), [head if is_same else None for head, is_same in zip(heads, same, strict=True)]
        heads = [
            next(iterator, None) if is_same else head
            for iterator, head, is_same in zip(iterators, heads, same, strict=True)
        ]


def _rank(key: object) -> tuple[int, str]:
    # MongoDB sorts numbers before strings before everything else; the services write only strings.
    if isinstance(key, str):
        return 1, key
    return (0 if isinstance(key, int | float) else 2), ""


def _length(rows: Iterable[Document]) -> int:
    return sum(1 for _ in rows)


def _take(collection: Any, cursor: Iterable[Document]) -> list[Document]:
    return _whole(collection, islice(cursor, BATCH))


def _whole(collection: Any, documents: Iterable[Document]) -> list[Document]:
    """Return documents with the archived ones in place of their stubs; a stub without one stays."""
    found = list(documents)
    if not (stubs := [one["_id"] for one in found if one.get("archived")]):
        return found
    archive: Any = archive_of(collection)
    archived = {one["_id"]: one for one in archive.find({"_id": {"$in": stubs}})}
    return [archived.get(one["_id"], one) if one.get("archived") else one for one in found]


def _ledger(collection: Any) -> dict[str, Decimal]:
    """Return the sums in the ledger of a collection."""
    announced_in: Any = announcements_of(collection)
    ledger: Any = ledger_of(collection)
    for _ in range(LEDGER_READS):
        head = ledger.find_one({"_id": "head"})
        announced = list(announced_in.find())
        stored = {one["_id"]: one for one in collection.find({"_id": {"$in": keys_of(announced)}}, POSTED)}
        if head == ledger.find_one({"_id": "head"}):
            break  # else something was moved from one to the other meanwhile
    totals, lists = dict(head["totals"]) if head else {}, dict(head["listed"]) if head else {}
    add(decide(announced, stored).made, totals, lists)
    return {**totals, **{listed(name): Decimal(number) for name, number in lists.items()}}


def _row(
    key: str, order: Document | None, reservation: Document | None, payment: Document | None
) -> DocumentRow:
    row = DocumentRow(Case(key))

    def read(document: Document | None, model: Any) -> Snapshot[Any] | None:
        if document is None:
            return None
        try:
            return snapshot(document, model)
        except Unreadable as error:
            row.unreadable.append(Finding(Invariant.DOCUMENT_IS_READABLE, key, str(error)))
            return None

    row.case = Case(key, read(order, Order), read(reservation, Reservation), read(payment, Payment))
    return row

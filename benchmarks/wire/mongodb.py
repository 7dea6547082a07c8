"""Counts the commands of one connection to MongoDB, and keeps one example of each kind of query."""

import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson import decode

Document = dict[str, Any]

_HEADER = struct.Struct("<iiii")
_SIZE = struct.Struct("<i")
_FLAGS = 4
OP_MSG = 2013
HOUSEKEEPING = {
    "hello",
    "ismaster",
    "isMaster",
    "ping",
    "saslStart",
    "saslContinue",
    "endSessions",
    "buildInfo",
    "killSessions",
}
"""What drivers send for themselves; not counted."""
RANGES = {"$lt", "$lte", "$gt", "$gte"}


@dataclass(frozen=True, slots=True)
class Query:
    """A find, or the search that an update begins with."""

    database: str
    collection: str
    filter: Document
    sort: Document
    limit: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What the connections of one process have in common: their counts, and what was learned from them."""

    counts: Counter[str] = field(default_factory=Counter)
    queries: dict[str, Query] = field(default_factory=dict)
    """An example of each kind of query."""
    indexes: defaultdict[tuple[str, str], dict[str, Document]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """The secondary indexes of each collection, by database and collection, and by name."""
    folds: set[tuple[str, object]] = field(default_factory=set)
    """The transactions that fold the ledger: their sessions and numbers."""


class MongoConnection:
    """Takes both directions of a connection, in chunks as they come, and counts.

    Counted are round trips, bytes, documents inserted, changed and returned, index entries, and each kind of
    command, such as `find orders by _id`. Searches for what is due, and the folds of the ledger, come with
    the clock and not with an order, and count as `sweeps` only.

    Index entries are what a server has to write at most: for a new document one in each index that it is in;
    for one that is replaced, one in each secondary index; for other changes, one in each secondary index of
    whose fields the write sets or removes one.
    """

    def __init__(self, seen: Seen) -> None:
        self._counts = seen.counts
        self._queries = seen.queries
        self._indexes = seen.indexes
        self._folds = seen.folds
        self._buffers = {True: bytearray(), False: bytearray()}
        self._sweeps: set[int] = set()

    def feed(self, chunk: bytes, *, upwards: bool) -> None:
        """Take the next bytes from the client (upwards) or from the server."""
        buffer = self._buffers[upwards]
        buffer += chunk
        while len(buffer) >= _HEADER.size:
            length, request, answers, kind = _HEADER.unpack_from(buffer)
            if len(buffer) < length:
                break
            message = bytes(buffer[_HEADER.size : length])
            del buffer[:length]
            if kind == OP_MSG:
                if upwards:
                    self._request(request, _body(message), length)
                else:
                    self._reply(answers, _body(message), length)

    def _request(self, number: int, command: Document, length: int) -> None:
        name = next(iter(command))
        if name in HOUSEKEEPING:
            return
        target = str(command[name]) if isinstance(command[name], str) else ""
        if self._is_fold(name, target, command) or (name == "find" and _is_sweep(command["filter"])):
            self._sweeps.add(number)
            self._counts["sweeps"] += 1
            return
        self._counts["round trips"] += 1
        self._counts["database bytes"] += length
        where = str(command.get("$db")), target
        if name == "insert":
            self._insert(where, command["documents"])
        elif name == "update":
            self._update(where, command["updates"])
        elif name == "find":
            query = Query(*where, command["filter"], command.get("sort", {}), command.get("limit", 0))
            what = f"find {target} by {' and '.join(query.filter) or 'nothing'}"
            self._counts[what] += 1
            self._queries.setdefault(what, query)
        else:
            self._counts[f"{name} {target}".strip()] += 1
        if name == "createIndexes":
            self._indexes[where] |= {one["name"]: one for one in command["indexes"]}

    def _is_fold(self, name: str, target: str, command: Document) -> bool:
        """Return whether a command belongs to a fold of the ledger, or ends its transaction."""
        transaction = str(command.get("lsid")), command.get("txnNumber")
        if target.endswith("_ledger") or (target.endswith("_announced") and name != "insert"):
            if command.get("startTransaction"):
                self._folds.add(transaction)
            return True
        return name in ("commitTransaction", "abortTransaction") and transaction in self._folds

    def _insert(self, where: tuple[str, str], documents: Sequence[Document]) -> None:
        self._counts["inserted"] += len(documents)
        self._counts[f"insert {where[1]}"] += len(documents)
        for document in documents:
            self._counts["index entries"] += 1 + sum(
                not index.get("sparse") or any(_has(document, key) for key in index["key"])
                for index in self._indexes[where].values()
            )

    def _update(self, where: tuple[str, str], updates: Sequence[Document]) -> None:
        self._counts["changed"] += len(updates)
        self._counts[f"update {where[1]}"] += len(updates)
        for one in updates:
            self._counts["index entries"] += sum(
                any(_writes(one["u"], key) for key in index["key"]) for index in self._indexes[where].values()
            )
            what = f"update {where[1]} by {' and '.join(one['q'])}"
            self._queries.setdefault(what, Query(*where, one["q"], {}, 0))

    def _reply(self, answers: int, reply: Document, length: int) -> None:
        if answers in self._sweeps:
            self._sweeps.discard(answers)
            return
        if "isWritablePrimary" in reply or "ismaster" in reply:
            return
        self._counts["database bytes"] += length
        cursor = reply.get("cursor")
        if isinstance(cursor, Mapping):
            self._counts["returned"] += len(cursor.get("firstBatch") or cursor.get("nextBatch") or ())


def _writes(change: Document | Sequence[Document], key: str) -> bool:
    """Tell whether an update may set or remove a field of an index; a replacement may do so with all."""
    if not isinstance(change, Mapping):
        return any(_writes(stage, key) for stage in change)
    if not any(name.startswith("$") for name in change):
        return True
    return any(
        path == key or path.startswith(f"{key}.") or key.startswith(f"{path}.")
        for paths in change.values()
        for path in paths
    )


def _has(document: Any, path: str) -> bool:
    """Tell whether a document has a field, by its dotted path; of a list, whether one of its members has."""
    if isinstance(document, Sequence) and not isinstance(document, str):
        return any(_has(member, path) for member in document)
    if not isinstance(document, Mapping):
        return False
    first, _, rest = path.partition(".")
    return first in document and (not rest or _has(document[first], rest))


def _is_sweep(chosen: Mapping[str, Any]) -> bool:
    """Tell whether a search is for what is due: it compares a time."""
    return any(
        name.endswith(("At", ".at"))
        for name, value in chosen.items()
        if isinstance(value, Mapping) and RANGES & value.keys()
    )


def _body(message: bytes) -> Document:
    """Return the command or reply in a message, with its document sequences in place."""
    body: Document = {}
    for name, document in _sections(message):
        if name:
            body.setdefault(name, []).append(document)
        else:
            body = {**document, **body}
    return body


def _sections(message: bytes) -> Iterator[tuple[str, Document]]:
    """Yield each document with the name of its sequence, the empty name for the body."""
    position = _FLAGS
    while position + _SIZE.size < len(message):
        kind = message[position]
        position += 1
        (size,) = _SIZE.unpack_from(message, position)
        end = position + size
        if kind == 0:
            yield "", decode(message[position:end])
        else:
            name_end = message.index(b"\0", position + _SIZE.size)
            name = message[position + _SIZE.size : name_end].decode()
            start = name_end + 1
            while start < end:
                (length,) = _SIZE.unpack_from(message, start)
                yield name, decode(message[start : start + length])
                start += length
        position = end

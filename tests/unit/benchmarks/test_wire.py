"""What goes over the wire is counted, however it is cut into chunks."""

import struct
from collections import Counter
from typing import Any

import pytest
from bson import encode

from benchmarks.wire.amqp import AmqpConnection
from benchmarks.wire.mongodb import MongoConnection, Seen

PUBLISH, DELIVER, ACK, OPEN = (60, 40), (60, 60), (60, 80), (10, 40)
GREETING = b"AMQP\0\0\x09\x01"
CHUNKS = [1, 7, 100_000]


def method(name: tuple[int, int], rest: bytes = b"\0\0") -> bytes:
    """Return a method frame on channel 1."""
    return frame(1, struct.pack(">HH", *name) + rest)


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


def feed(connection: AmqpConnection | MongoConnection, data: bytes, size: int, *, upwards: bool) -> None:
    """Pass data on in chunks of a size."""
    for start in range(0, len(data), size):
        connection.feed(data[start : start + size], upwards=upwards)


@pytest.mark.parametrize("size", CHUNKS)
def test_amqp_methods_are_counted_by_direction(size: int) -> None:
    counts: Counter[str] = Counter()
    connection = AmqpConnection(counts)
    body = frame(2, b"\0" * 20) + frame(3, struct.pack(">HH", *PUBLISH) * 10)
    up = GREETING + method(OPEN) + 2 * (method(PUBLISH) + body) + method(ACK)
    down = method(DELIVER) + body + method(ACK) + method(ACK)
    feed(connection, up, size, upwards=True)
    feed(connection, down, size, upwards=False)
    assert counts == {
        "published": 2,
        "acks": 1,
        "delivered": 1,
        "confirms": 2,
        "broker bytes": len(up) + len(down),
    }


def request(number: int, command: dict[str, Any], **sequences: list[dict[str, Any]]) -> bytes:
    """Return a command, with document sequences."""
    sections = b"\0" + encode({**command, "$db": "shop"})
    for name, documents in sequences.items():
        content = name.encode() + b"\0" + b"".join(map(encode, documents))
        sections += b"\1" + struct.pack("<i", 4 + len(content)) + content
    return packed(number, 0, sections)


def reply(answers: int, body: dict[str, Any]) -> bytes:
    return packed(1000 + answers, answers, b"\0" + encode({"ok": 1.0, **body}))


def packed(number: int, answers: int, sections: bytes) -> bytes:
    return struct.pack("<iiiiI", 20 + len(sections), number, answers, 2013, 0) + sections


@pytest.mark.parametrize("size", CHUNKS)
def test_mongodb_commands_and_documents_are_counted(size: int) -> None:
    seen = Seen()
    connection = MongoConnection(seen)
    replace = {"q": {"_id": "a", "version": 1}, "u": {"state": 2}, "upsert": True}
    requests = [
        request(1, {"hello": 1}),
        request(2, {"insert": "orders"}, documents=[{"_id": "a"}, {"_id": "b"}]),
        request(3, {"update": "orders"}, updates=[replace]),
        request(4, {"find": "orders", "filter": {"_id": {"$in": ["a"]}}}),
        request(5, {"find": "orders", "filter": {"dueAt": {"$lte": 5}}}),
        request(6, {"commitTransaction": 1}),
    ]
    replies = [
        reply(1, {"isWritablePrimary": True}),
        reply(2, {"n": 2}),
        reply(3, {"n": 1}),
        reply(4, {"cursor": {"firstBatch": [{"_id": "a"}]}}),
        reply(5, {"cursor": {"firstBatch": [{"_id": "x"}] * 9}}),
        reply(6, {}),
    ]
    for asked, answered in zip(requests, replies, strict=True):
        feed(connection, asked, size, upwards=True)
        feed(connection, answered, size, upwards=False)
    assert seen.counts == {
        "round trips": 4,
        "inserted": 2,
        "insert orders": 2,
        "changed": 1,
        "update orders": 1,
        "find orders by _id": 1,
        "returned": 1,
        "sweeps": 1,
        "commitTransaction": 1,
        "index entries": 2,
        "database bytes": sum(len(requests[one]) + len(replies[one]) for one in (1, 2, 3, 5)),
    }
    assert seen.queries.keys() == {"find orders by _id", "update orders by _id and version"}


def index_entries(sent: bytes) -> int:
    """Return how many index entries a write costs a collection with two sparse indexes and one of all."""
    seen = Seen()
    connection = MongoConnection(seen)
    indexes = [
        {"name": "wakeAt_1", "key": {"wakeAt": 1}, "sparse": True},
        {"name": "outbox", "key": {"outbox.at": 1}, "sparse": True},
        {"name": "product", "key": {"productId": 1}},
    ]
    connection.feed(request(1, {"createIndexes": "orders", "indexes": indexes}), upwards=True)
    connection.feed(sent, upwards=True)
    return seen.counts["index entries"]


@pytest.mark.parametrize(
    ("document", "entries"),
    [({}, 2), ({"wakeAt": 1}, 3), ({"outbox": [{"at": 1}]}, 3), ({"outbox": []}, 2)],
)
def test_a_new_document_is_in_the_indexes_whose_fields_it_has(document: dict[str, Any], entries: int) -> None:
    assert index_entries(request(2, {"insert": "orders"}, documents=[document])) == entries


@pytest.mark.parametrize(
    ("change", "entries"),
    [
        ({"$set": {"state": 1}}, 0),
        ({"$set": {"wakeAt": 1}, "$push": {"outbox": 2}}, 2),
        ({"$unset": {"wakeAt": ""}}, 1),
        ({"state": 1}, 3),
        ([{"$set": {"productId": "tea"}}], 1),
    ],
)
def test_a_change_writes_the_indexes_whose_fields_it_sets(change: Any, entries: int) -> None:
    assert index_entries(request(2, {"update": "orders"}, updates=[{"q": {}, "u": change}])) == entries

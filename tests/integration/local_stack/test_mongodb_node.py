"""The embedded database server: what survives a kill, and a clean stop."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from local_stack.mongodb_node import DatabaseNode
from local_stack.process import wait_until

LIMIT = 60.0
"""Seconds for what takes a moment on an idle machine."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DatabaseNode]:
    """A database server that runs."""
    node = DatabaseNode(tmp_path)
    node.start()
    try:
        node.wait_ready()
        yield node
    finally:
        node.kill()


def test_killed_database_has_every_acknowledged_write(node: DatabaseNode) -> None:
    acknowledged = written_until_killed(node, at_least=500)
    node.start()
    node.wait_ready()
    client: MongoClient[dict[str, Any]] = MongoClient(node.url)
    with client:
        kept = set(client.test.writes.distinct("_id"))
    assert acknowledged - kept == set()


def test_database_stops_cleanly(node: DatabaseNode) -> None:
    node.stop()
    assert not any(child.alive for child in node.children)


def written_until_killed(node: DatabaseNode, at_least: int) -> set[str]:
    """Kill the server while several clients insert documents; the ids that it had acknowledged."""
    acknowledged: set[str] = set()

    def insert(name: str) -> None:
        client: MongoClient[dict[str, Any]] = MongoClient(node.url, serverSelectionTimeoutMS=500)
        with client, suppress(PyMongoError):
            for number in range(100_000):
                client.test.writes.insert_one({"_id": f"{name}-{number}"})
                acknowledged.add(f"{name}-{number}")

    writers = [threading.Thread(target=insert, args=(f"writer-{n}",)) for n in range(4)]
    for writer in writers:
        writer.start()
    wait_until(lambda: len(acknowledged) >= at_least, LIMIT, "enough is written")
    node.kill()
    for writer in writers:
        writer.join()
    return acknowledged

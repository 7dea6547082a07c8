"""Where a peer's process finds the broker, its database and the file of times, as set by the benchmark."""

import asyncio
import os
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import uvloop
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from benchmarks.stamps import Stamps
from local_stack.process import ProcessFailed

BROKER, DATABASE, STAMPS, READY = "BENCH_BROKER", "BENCH_DATABASE", "BENCH_STAMPS", "BENCH_READY"
"""Variables: two URLs, the file of times, and the file that a process creates once it consumes."""
DATABASE_NAME = "bench"
Document = dict[str, Any]


def open_database(url: str) -> AsyncDatabase[Document]:
    """Return a peer's database."""
    # With few connections: many make the embedded server slower.
    return AsyncMongoClient[Document](url, maxPoolSize=4)[DATABASE_NAME]


def own_database() -> AsyncDatabase[Document]:
    """Return the database of this process."""
    return open_database(os.environ[DATABASE])


def broker_url() -> str:
    """Return the broker's URL for this process."""
    return os.environ[BROKER]


def stamps() -> Stamps:
    """Open the file of times."""
    return Stamps(Path(os.environ[STAMPS]))


def say_ready() -> None:
    """Say that this process consumes its queues."""
    Path(os.environ[READY]).touch()


def environment(broker: str, database: str, stamps: Path, ready: Path) -> Mapping[str, str]:
    """Return the environment of a peer's process."""
    return {**os.environ, BROKER: broker, DATABASE: database, STAMPS: str(stamps), READY: str(ready)}


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a peer's process on the event loop of the services."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def check_service(name: str, known: Mapping[str, object]) -> str:
    """Return the name of a service that a peer has.

    Raises:
        ProcessFailed: it has none of that name.
    """
    if name not in known:
        raise ProcessFailed(f"{name!r} is none of {', '.join(known)}")
    return name

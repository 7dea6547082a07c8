"""How the database runs what the order service asks it: by an index, reading only what is asked for."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.monitoring import CommandListener, CommandStartedEvent

from order_service.mongo_store import OrderStore
from saga.mongodb.client import Database, database
from tests.support.clock import Clock
from tests.support.order_store import order, save

AGE = timedelta(days=1)
ENDED = 60
LIMIT = 20
SMALL = {"orders_announced"}
"""Collections that hold nothing for long, and are read whole."""


class Finds(CommandListener):
    """Every query that the driver sends."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in ("find", "aggregate", "count", "distinct"):
            self.commands.append(dict(event.command))

    def succeeded(self, event: object) -> None:
        """Not needed."""

    def failed(self, event: object) -> None:
        """Not needed."""


@pytest.fixture
def finds() -> Finds:
    return Finds()


@pytest.fixture
async def db(mongodb_url: str, finds: Finds) -> AsyncIterator[Database]:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        mongodb_url, tz_aware=True, event_listeners=[finds]
    )
    yield database(client, f"test_{uuid4().hex[:12]}")
    client.close()


@pytest.fixture
async def orders(db: Database, finds: Finds) -> OrderStore:
    """A store with many orders that have ended, all due for the archive, and a few under way, all due."""
    clock = Clock()
    store = OrderStore(db["orders"], clock, AGE)
    await store.prepare()
    for status in ("confirmed", "failed"):
        await save(store, *(order(f"{status}-{number}", status, number) for number in range(ENDED)))
    clock.advance(2 * AGE.total_seconds())
    await save(store, *(order(f"paid-{number}", "paid", number) for number in range(3)))
    await store.books()
    finds.commands.clear()
    return store


Ask = Callable[[OrderStore], Awaitable[Any]]
ASKED: dict[str, tuple[Ask, int]] = {
    "due": (lambda store: store.due(), 3),
    "waking": (lambda store: store.waking(), 3),
    "one order": (lambda store: store.get("confirmed-7"), 1),
    "orders": (lambda store: store.readable(["confirmed-7", "failed-8"]), 2),
    "newest": (lambda store: store.find(None, LIMIT), LIMIT + 3),
    "newest confirmed": (lambda store: store.find("confirmed", LIMIT), LIMIT),
    "newest paid": (lambda store: store.find("paid", LIMIT), 2 * 3),
    "books": (lambda store: store.books(), 0),
}
"""What is asked, and how many orders are read for it: lists find those under way before they read them."""


@pytest.mark.parametrize("asked", ASKED)
async def test_a_query_reads_only_what_it_returns(
    orders: OrderStore, db: Database, finds: Finds, asked: str
) -> None:
    ask, number = ASKED[asked]
    await ask(orders)
    commands = [command for command in finds.commands if command["find"] not in SMALL]
    read = 0
    for command in commands:
        found = await plan(db, command)
        if command["find"] == "orders":
            read += found
    assert commands
    assert read == number


async def test_what_is_due_for_the_archive_is_found_by_its_time(
    orders: OrderStore, db: Database, finds: Finds
) -> None:
    assert orders.archivist is not None
    assert await orders.archivist.archive_due() == 2 * ENDED
    finds.commands.clear()
    assert await orders.archivist.archive_due() == 0
    [command] = finds.commands
    assert await plan(db, command) == 0


async def plan(db: Database, command: dict[str, Any]) -> int:
    """Check that a query uses an index; return how many documents it examines.

    A query that names an `_id` is run by it, and one that names a timer by that: the embedded server does so,
    but explains that it scans if another field is compared as well. For the others it counts every document
    within the bounds of the index, also beyond the limit.
    """
    ids = command["filter"].get("_id")
    if isinstance(ids, str):
        return 1
    if ids is not None:
        return len(ids["$in"])
    chosen = {name: value for name, value in command["filter"].items() if name == "wakeAt"}
    asked = {"find": command["find"], "filter": chosen}
    explained = await db.command("explain", asked, verbosity="executionStats")
    assert "IXSCAN" in str(explained["queryPlanner"]["winningPlan"]), command
    return int(explained["executionStats"]["totalDocsExamined"])

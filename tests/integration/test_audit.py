"""The audit on a real database: it reads only, sees what is damaged, and is not misled by what moves."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import MongoClient
from pymongo.errors import CursorNotFound
from pymongo.monitoring import CommandListener, CommandStartedEvent
from typer.testing import CliRunner

from benchmarks.filling import COURSES, STOCK_KEY, InProcessServices, fill
from cli import audit as command
from cli import main
from tests.support.broker import until
from verification.audit import reader as reading
from verification.audit.auditor import audit, audit_at_rest
from verification.audit.reader import DatabaseAddress, Databases, Scope, side_by_side
from verification.audit.report import AuditReport

ORDERS = 4 * len(COURSES)
READS = {"find", "getMore", "count", "killCursors", "endSessions", "hello", "ping"}
Document = dict[str, Any]

runner = CliRunner()


@pytest.fixture
def databases(mongodb_url: str) -> Databases:
    """Databases of the test's own, empty."""
    mark = uuid4().hex[:12]
    names = (f"{service}_{mark}" for service in ("order", "inventory", "payment"))
    return Databases(*(DatabaseAddress(mongodb_url, name) for name in names))


@pytest.fixture
async def filled(databases: Databases) -> Databases:
    """Databases in which every kind of saga has been played to its end."""
    ended = await fill(databases, ORDERS)
    assert ended == Counter(COURSES * 4)
    return databases


def contents(databases: Databases) -> dict[str, list[Document]]:
    """Return every document there is, by database and collection."""
    with MongoClient[Document](databases.order.url) as client:
        return {
            f"{one.name}.{collection}": list(client[one.name][collection].find().sort("_id", 1))
            for one in (databases.order, databases.inventory, databases.payment)
            for collection in client[one.name].list_collection_names()
        }


async def judged(databases: Databases, **options: Any) -> AuditReport:
    async with asyncio.timeout(60):
        return await asyncio.to_thread(audit, databases, at_rest=True, **options)


async def test_sound_databases_violate_nothing(filled: Databases) -> None:
    seen: list[tuple[int, int]] = []
    report = await judged(filled, progress=lambda done, total: seen.append((done, total)))
    assert report.broken == {}
    assert report.orders == {"confirmed": 16, "failed": 8, "cancelled": 4}
    assert (report.judged, report.changing, report.levels) == (ORDERS, 0, 1)
    assert report.money["USD"].confirmed == report.money["USD"].charged == 16 * 25
    done, total = seen[-1]
    assert done == total == sum(len(rows) for name, rows in contents(filled).items() if is_aggregates(name))


def is_aggregates(name: str) -> bool:
    return name.rpartition(".")[2] in ("orders", "reservations", "payments")


async def test_a_promised_order_without_a_document_is_lost(filled: Databases) -> None:
    report = await judged(filled, promised=[f"confirmed-{0:012d}", "lost"])
    assert [(one.subject, one.findings[0].invariant) for one in report.violations] == [
        ("lost", "no order is lost")
    ]


async def test_orders_that_still_change_are_counted(filled: Databases) -> None:
    with reading.reading(filled) as reader, MongoClient[Document](filled.order.url) as client:
        assert reader.unfinished() == {}
        assert reader.orders() == ORDERS
        orders, payments = client[filled.order.name]["orders"], client[filled.payment.name]["payments"]
        now = datetime.now(UTC)
        for status in ("paid", "refundPending"):
            change = {"wakeAt": now, "state.status": status}
            orders.update_one({"state.status": "failed"}, {"$set": change})
        payments.update_one({}, {"$set": {"wakeAt": now, "state.nextAttemptAt": now}})
        payments.update_one({}, {"$set": {"wakeAt": now, "journal.0.unpublished": ["e-1"]}})
        assert reader.unfinished() == {
            "orders paid": 1,
            "payments in progress": 1,
            "payments with unpublished events": 1,
        }


async def test_nothing_is_written(filled: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: set[str] = set()

    class Listener(CommandListener):
        def started(self, event: CommandStartedEvent) -> None:
            commands.add(event.command_name)

        def succeeded(self, event: object) -> None: ...
        def failed(self, event: object) -> None: ...

    def listened(url: str, timeout: float) -> AsyncIOMotorClient[Document]:
        return AsyncIOMotorClient(url, tz_aware=True, event_listeners=[Listener()])

    monkeypatch.setattr(reading, "connect", listened)
    before = contents(filled)
    await judged(filled)
    await judged(filled, scope=Scope([f"confirmed-{0:012d}"], ["tea"]))
    assert {"find", "count"} <= commands <= READS
    assert contents(filled) == before


Damage = Callable[[Any, Any, Any], Any]
DAMAGES: dict[str, tuple[Damage, set[str]]] = {
    "a level is off": (
        lambda orders, stock, payments: stock["stock"].update_one(
            {}, {"$inc": {"reserved": 1, "available": -1}}
        ),
        {"stock adds up"},
    ),
    "stock is negative": (
        lambda orders, stock, payments: stock["stock"].update_one({}, {"$set": {"available": -1}}),
        {"stock is not negative", "stock is conserved"},
    ),
    "units are gone": (
        lambda orders, stock, payments: stock["stock"].update_one({}, {"$inc": {"available": -1}}),
        {"stock is conserved"},
    ),
    "an allocation is lost": (
        lambda orders, stock, payments: stock["reservations"].update_one(
            {"state.status": "allocated"}, {"$set": {"state.status": "released"}}
        ),
        {"stock matches the order", "stock adds up"},
    ),
    "a payment is lost": (
        lambda orders, stock, payments: payments["payments"].delete_one({"state.status": "charged"}),
        {"money matches the order", "money adds up", "books agree"},
    ),
    "an order is lost": (
        lambda orders, stock, payments: orders["orders"].delete_one({"state.status": "confirmed"}),
        {"belongs to an order", "money adds up", "books agree"},
    ),
    "an order does not end": (
        lambda orders, stock, payments: orders["orders"].update_one(
            {"state.status": "failed"}, {"$set": {"state.status": "reserved"}}
        ),
        {"order ends", "one last event", "books agree"},
    ),
    "an order cannot be read": (
        lambda orders, stock, payments: orders["orders"].update_one(
            {"state.status": "failed"}, {"$set": {"state.totalAmount": "much"}}
        ),
        {"document is readable", "books agree"},
    ),
    "the books are off": (
        lambda orders, stock, payments: payments["payments_ledger"].update_one(
            {"_id": "head"}, {"$set": {"totals.USD charged": 1}}
        ),
        {"books agree"},
    ),
    "a document has an id of another kind": (
        lambda orders, stock, payments: orders["orders"].insert_one({"_id": 5, "state": {}}),
        {"document is readable"},
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found(filled: Databases, damage: str) -> None:
    do, rules = DAMAGES[damage]
    with MongoClient[Document](filled.order.url) as client:
        do(*(client[one.name] for one in (filled.order, filled.inventory, filled.payment)))
    report = await judged(filled)
    assert set(report.broken) == rules
    assert report.judged == ORDERS - ("document is readable" in rules and damage.startswith("an order"))


async def test_a_scope_ignores_other_orders(filled: Databases) -> None:
    mine = [f"confirmed-{number:012d}" for number in (0, 1)]
    with MongoClient[Document](filled.order.url) as client:
        orders = client[filled.order.name]["orders"]
        orders.update_one({"_id": f"confirmed-{2:012d}"}, {"$set": {"state": {}}})
        client[filled.inventory.name]["stock"].update_one({}, {"$inc": {"reserved": 1, "available": -1}})
        report = await judged(filled, scope=Scope([*mine, "unknown"], ["nothing of this name"]))
        assert report.broken == {"stock adds up": 1, "no order is lost": 1}
        orders.update_one({"_id": mine[0]}, {"$set": {"state": {}}})
        damaged = await judged(filled, scope=Scope(mine, ["nothing of this name"]))
    assert [one.subject for one in damaged.violations if one.subject in mine] == [mine[0]]


async def test_stock_that_keeps_changing_raises_no_alarm(databases: Databases) -> None:
    services = InProcessServices(databases)
    await services.prepare()
    stop = asyncio.Event()
    played = 0

    async def trade(trader: int) -> None:
        nonlocal played
        while not stop.is_set():
            played += 1
            await services.play(
                ("confirmed", "cancelled", "declined")[played % 3], f"order-{trader}-{played}"
            )

    await services.stock.set_level(*STOCK_KEY, 1_000_000, None)
    await services.stock.set_level("berlin", "untouched", 5, None)
    trading = asyncio.create_task(trade(1))
    looked, compared, waited = 0, 0, 0

    async def look() -> bool:
        nonlocal looked, compared, waited
        report = await asyncio.to_thread(audit, databases, settled_for=timedelta(seconds=1))
        assert report.broken == {}
        looked += 1
        compared += report.levels - report.levels_changing
        waited += report.changing
        return looked >= 15 and compared > looked and waited > 0 and report.judged > 0

    try:
        await until(look, "the audit has judged and left out, both", limit=90)
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await trading
    report = await asyncio.to_thread(audit_at_rest, databases)
    assert (report.broken, report.changing, report.judged) == ({}, 0, played)
    services.close()


class TestCommand:
    @pytest.fixture(autouse=True)
    def _environment(self, databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("SAGA_STATE", str(tmp_path))
        monkeypatch.setenv("MONGODB_URL", databases.order.url)
        for service in ("order", "inventory", "payment"):
            monkeypatch.setenv(f"{service.upper()}_DATABASE", getattr(databases, service).name)

    @pytest.mark.usefixtures("filled")
    def test_sound_databases_end_with_0(self) -> None:
        result = runner.invoke(main.app, ["audit", "--all"])
        assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "no promise is broken")

    def test_a_violation_has_a_timeline_and_exit_code_1(self, filled: Databases) -> None:
        with MongoClient[Document](filled.payment.url) as client:
            client[filled.payment.name]["payments"].delete_one({"_id": f"confirmed-{0:012d}"})
        result = runner.invoke(main.app, ["audit", "--all"])
        assert result.exit_code == 1
        assert f"confirmed-{0:012d} is confirmed, and 0.00 were kept instead of 25.00" in result.stdout
        for kind in ("InventoryReservationRequested", "InventoryReserved", "OrderCreated"):
            assert sum(kind in line for line in result.stdout.splitlines()) == 1
        found = runner.invoke(main.app, ["audit", "--all", "--json"])
        assert found.exit_code == 1
        report = json.loads(found.stdout)
        assert report["broken"] == {
            "money matches the order": 1,
            "money adds up": 1,
            "books agree": 1,
        }
        assert [one["subject"] for one in report["violations"]] == [
            f"confirmed-{0:012d}",
            "payment_service",
            "USD",
        ]
        assert len(report["violations"][0]["timeline"]) == 6

    @pytest.mark.usefixtures("filled")
    def test_a_recent_change_is_not_judged_yet(self) -> None:
        report = json.loads(runner.invoke(main.app, ["audit", "--json", "--settled-for", "3600"]).stdout)
        assert (report["ok"], report["judged"], report["changing"]) == (True, 0, ORDERS)

    @pytest.mark.usefixtures("filled")
    def test_it_reports_when_nothing_was_judged(self) -> None:
        result = runner.invoke(main.app, ["audit", "--settled-for", "3600"])
        assert result.exit_code == 0
        assert result.stdout.splitlines()[-1] == "nothing was judged: every order has just changed"

    def test_it_reports_an_empty_database(self) -> None:
        result = runner.invoke(main.app, ["audit"])
        assert result.exit_code == 0
        assert result.stdout.splitlines()[-1] == "nothing was judged: the databases hold no order"

    def test_an_unreachable_database_is_reported_in_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "ANSWER_SECONDS", 0.2)
        monkeypatch.setenv("MONGODB_URL", "mongodb://user:secret@127.0.0.1:1/")
        result = runner.invoke(main.app, ["audit"])
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert "cannot read mongodb://user:***@127.0.0.1:1 (" in result.stderr

    def test_a_database_that_fails_meanwhile_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def die(*_: object, **__: object) -> None:
            raise CursorNotFound("cursor id 5 not found", 43, {"ok": 0.0})

        monkeypatch.setattr(command, "audit", die)
        result = runner.invoke(main.app, ["audit"])
        assert result.exit_code == 1
        assert "(cursor id 5 not found): is it running?" in result.stderr


def test_streams_are_merged_by_id() -> None:
    def rows(*keys: object) -> list[Document]:
        return [{"_id": key} for key in keys]

    merged = list(side_by_side([rows(3, "a", "b"), rows("b", "c"), rows()]))
    assert [(key, [one is not None for one in found]) for key, found in merged] == [
        ("3", [True, False, False]),
        ("a", [True, False, False]),
        ("b", [True, True, False]),
        ("c", [False, True, False]),
    ]

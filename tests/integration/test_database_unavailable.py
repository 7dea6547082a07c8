"""Every store while the database is unavailable: each call says so, and works again afterwards."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from events.catalogue import InventoryReservationRequested, InventoryReserved
from events.values import Location
from inventory_service.context import ReservationContext
from inventory_service.mongo_store import InventoryStore
from inventory_service.reservation import Reservation
from inventory_service.stock import Stock, StockMove, Warehouse
from inventory_service.unit_of_work import ReservationUnitOfWork
from order_service.mongo_store import OrderStore
from payment_service.mongo_store import PaymentStore
from saga.clock import utc_now
from saga.errors import Unavailable
from saga.mongodb.aggregates import PlainStore
from saga.mongodb.client import Client, connect, database
from saga.reactions.step import Step
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate
from tests.support.broker import until
from tests.support.clock import START
from tests.support.inventory_store import HOLD, answers, parts, replica, request
from tests.support.sample_aggregate import SampleAggregate, sample
from tests.support.services import database_server

UNREACHABLE = "mongodb://127.0.0.1:9/?directConnection=true"


def hold_step(event: InventoryReservationRequested) -> Step[Reservation, ReservationContext]:
    return Step(
        event.order_id,
        event.type,
        str(event.event_id),
        event.order_id,
        react=lambda state, world: NotImplemented,
        arguments=(event,),
    )


def sample_step(key: str) -> Step[SampleAggregate, datetime]:
    return Step(key, "seen", "seen", key, react=lambda state, now: NotImplemented)


def move_into(entry: LoadedAggregate[Reservation], request: InventoryReservationRequested) -> None:
    """Make an entry a hold, as a reaction would."""
    entry.state = Reservation(
        order_id=request.order_id, correlation_id=request.order_id, status="held", items=request.items
    )
    entry.journal["held"] = JournalEntry("held", START, "held")
    entry.changed = True


Call = Callable[[], Awaitable[object]]


def calls(client: Client) -> dict[str, Call]:
    """Every method of every store that speaks to the database."""
    db = database(client, f"test_{uuid4().hex[:12]}")
    samples = PlainStore(db["samples"], SampleAggregate, utc_now)
    inventory = replica(client, db)
    orders = OrderStore(db["orders"], utc_now)
    payments = PaymentStore(db["payments"], utc_now)
    entry = LoadedAggregate("a", state=sample("a"), changed=True)
    asked = request("tea")

    hold: LoadedAggregate[Reservation] = LoadedAggregate(asked.order_id)
    move_into(hold, asked)
    unit = ReservationUnitOfWork({hold.key: hold}, ReservationContext(Stock(), START, HOLD))
    unit.context.stock.apply([StockMove(("berlin", "tea"), available=-1, reserved=1)])

    return {
        "prepare": samples.prepare,
        "readable": lambda: samples.readable(["a"]),
        "fetch": lambda: samples.fetch(["a"]),
        "get": lambda: samples.get("a"),
        "write": lambda: samples.write([entry]),
        "due": samples.due,
        "waking": samples.waking,
        "ping": samples.ping,
        "load": lambda: samples.load([sample_step("a")], {}),
        "inventory.prepare": inventory.prepare,
        "inventory.load": lambda: inventory.load([hold_step(asked)], {}),
        "inventory.save": lambda: inventory.save(unit),
        "inventory.write": lambda: inventory.write([hold]),
        "inventory.levels": inventory.levels,
        "inventory.set_level": lambda: inventory.set_level("berlin", "tea", 1, None),
        "inventory.set_level with a version": lambda: inventory.set_level("berlin", "tea", 1, 1),
        "inventory.warehouses": inventory.warehouses,
        "inventory.set_warehouses": lambda: inventory.set_warehouses(
            [Warehouse(warehouse_id="berlin", location=Location(latitude=0, longitude=0))]
        ),
        "orders.prepare": orders.prepare,
        "orders.find": lambda: orders.find(None, 1),
        "orders.books": orders.books,
        "payments.prepare": payments.prepare,
        "payments.books": payments.books,
    }


async def results(calls: dict[str, Call]) -> dict[str, object]:
    """Make all calls at once; return what each returned or raised."""
    answers = await asyncio.gather(*(call() for call in calls.values()), return_exceptions=True)
    return dict(zip(calls, answers, strict=True))


async def test_every_call_raises_unavailable() -> None:
    client = connect(UNREACHABLE, timeout=0.2)
    for name, result in (await results(calls(client))).items():
        assert isinstance(result, Unavailable), (name, result)
    client.close()


async def test_stores_work_again_after_the_database_was_killed(tmp_path: Path) -> None:
    with database_server(tmp_path) as node:
        client = connect(node.url, timeout=0.5)
        store = replica(client, database(client, "inventory"))
        await store.prepare()
        await store.set_warehouses(
            [Warehouse(warehouse_id="berlin", location=Location(latitude=1, longitude=1))]
        )
        for product in ("tea", "cup"):
            await store.set_level("berlin", product, 30, None)
        done = request("cup", 2)
        await answers(store, [done])
        requests = [request("tea") for _ in range(40)]
        batches = [requests[start::4] for start in range(4)]
        working = asyncio.gather(*(answers(store, batch) for batch in batches), return_exceptions=True)
        await until(lambda: some_are_held(store), "some are held")
        node.kill()
        for handled in await working:
            assert isinstance(handled, list | Unavailable), handled
        for name, result in (await results(calls(client))).items():
            assert isinstance(result, Unavailable), (name, result)
        node.start()
        await asyncio.to_thread(node.wait_ready)

        async def reached() -> bool:
            with suppress(Unavailable):
                await store.ping()
                return True
            return False

        await until(reached, "the same client reaches the database again")
        assert await parts(store, "cup") == (28, 2, 0)
        reservation = await store.get(done.order_id)
        assert reservation is not None
        assert reservation.status == "held"
        kinds = [type(event) for event in await answers(store, requests)]
        assert len(kinds) == 40
        assert kinds.count(InventoryReserved) == 30
        assert await parts(store, "tea") == (0, 30, 0)
        for name, result in (await results(calls(client))).items():
            assert not isinstance(result, BaseException), (name, result)
        client.close()


async def some_are_held(store: InventoryStore) -> bool:
    return (await parts(store, "tea"))[1] > 0

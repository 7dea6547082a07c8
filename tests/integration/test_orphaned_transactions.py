"""A process that dies in a transaction leaves its documents locked for a while."""

import asyncio
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from events.catalogue import Event, InventoryReleased, InventoryReleaseRequested, InventoryReserved
from events.values import Location
from inventory_service.mongo_store import InventoryStore
from inventory_service.reservation import Reservation
from inventory_service.stock import Warehouse
from saga.clock import utc_now
from saga.messaging.results import Deferred, Handled
from saga.mongodb.client import Client, connect, database
from tests.support.inventory_store import HOLD, answers, application, published, request

REPLICA = "replica-1"
AT_ONCE = 8.0
"""Seconds, fewer than a write would wait for the lock."""
Clients = Callable[[], Client]


@pytest.fixture
def clients(mongodb_url: str) -> Iterator[Clients]:
    """Clients that share nothing, like those of different processes."""
    opened: list[Client] = []

    def another() -> Client:
        opened.append(connect(mongodb_url))
        return opened[-1]

    yield another
    for client in opened:
        client.close()


@pytest.fixture
def name() -> str:
    return f"inventory_{uuid4().hex[:12]}"


async def a_store(clients: Clients, name: str, replica: str | None = None) -> InventoryStore:
    client = clients()
    store = InventoryStore(client, database(client, name), utc_now, HOLD, replica)
    await store.prepare()
    return store


async def die_in_a_transaction(clients: Clients, name: str, product: str) -> InventoryStore:
    """Open a transaction on a product's stock, as a replica does, and never end it."""
    store = await a_store(clients, name, REPLICA)
    session = store.session
    assert session is not None
    session.start_transaction()
    await store.collection.database["stock"].update_one(
        {"_id": f"w-1/{product}"}, {"$inc": {"available": -1}}, session=session
    )
    return store


async def die_writing_a_reservation(clients: Clients, name: str, order_id: str) -> InventoryStore:
    """Open a transaction on a reservation, as a replica does, and never end it."""
    store = await a_store(clients, name, REPLICA)
    session = store.session
    assert session is not None
    entry = (await store.fetch([order_id]))[order_id]
    if entry.state is None:
        entry.state = Reservation(order_id=order_id, correlation_id=order_id, status="released")
    session.start_transaction()
    await store.collection.replace_one(
        {"_id": order_id, "version": entry.version}, store.document(entry), upsert=True, session=session
    )
    return store


async def stocked(store: InventoryStore, *products: str) -> None:
    await store.set_warehouses([Warehouse(warehouse_id="w-1", location=Location(latitude=1, longitude=1))])
    for product in products:
        await store.set_level("w-1", product, 5, None)


def release(order_id: str) -> InventoryReleaseRequested:
    return InventoryReleaseRequested(
        event_id=f"release-{order_id}",
        correlation_id=order_id,
        occurred_at=utc_now(),
        order_id=order_id,
        reason="cancelled",
    )


def assert_reserved(events: list[Event]) -> None:
    assert [type(event) for event in events] == [InventoryReserved]


async def test_a_restarted_replica_ends_its_orphaned_transaction(clients: Clients, name: str) -> None:
    await stocked(await a_store(clients, name), "tea")
    dead = await die_in_a_transaction(clients, name, "tea")
    store = await a_store(clients, name, REPLICA)
    successor = application(store)
    [result] = await successor.handle([request("tea")])
    assert isinstance(result, Handled)
    assert_reserved(await published(result))
    [level] = await store.levels(["tea"])
    assert (level.available, level.reserved) == (4, 1)
    del dead


async def test_locked_stock_delays_only_the_orders_that_need_it(clients: Clients, name: str) -> None:
    await stocked(await a_store(clients, name), "tea", "coffee")
    dead = await die_in_a_transaction(clients, name, "tea")
    store = await a_store(clients, name)
    neighbour = application(store)
    waiting, done = await neighbour.handle([request("tea"), request("coffee")])
    assert isinstance(waiting, Deferred)
    assert isinstance(done, Handled)
    assert_reserved(await published(done))
    await a_store(clients, name, REPLICA)
    assert_reserved(await asyncio.wait_for(published(waiting), 20))
    levels = {level.product_id: (level.available, level.reserved) for level in await store.levels()}
    assert levels == {"tea": (4, 1), "coffee": (4, 1)}
    del dead


@pytest.mark.parametrize("held", [True, False], ids=["held", "unknown"])
async def test_a_release_does_not_wait_for_a_locked_document(clients: Clients, name: str, held: bool) -> None:
    store = await a_store(clients, name)
    await stocked(store, "tea", "coffee")
    asked = request("tea")
    if held:
        await answers(store, [asked])
    dead = await die_writing_a_reservation(clients, name, asked.order_id)
    neighbour = application(await a_store(clients, name))
    async with asyncio.timeout(AT_ONCE):
        waiting, done = await neighbour.handle([release(asked.order_id), request("coffee")])
    assert isinstance(waiting, Deferred)
    assert_reserved(await published(done))
    await a_store(clients, name, REPLICA)
    [released] = await asyncio.wait_for(published(waiting), 20)
    assert isinstance(released, InventoryReleased)
    [level] = await store.levels(["tea"])
    assert (level.available, level.reserved) == (5, 0)
    del dead


async def test_a_locked_document_delays_no_other_wake_up(clients: Clients, name: str) -> None:
    store = await a_store(clients, name)
    await stocked(store, "tea")
    asked, other = request("tea"), request("tea")
    await answers(store, [asked, other])
    dead = await die_writing_a_reservation(clients, name, asked.order_id)
    neighbour = application(await a_store(clients, name))
    async with asyncio.timeout(AT_ONCE):
        await neighbour.reschedule(await neighbour.readable([asked.order_id, other.order_id]))
    assert await versions(store, asked.order_id, other.order_id) == [1, 2]
    await a_store(clients, name, REPLICA)
    await neighbour.reschedule(await neighbour.readable([asked.order_id]))
    assert await versions(store, asked.order_id) == [2]
    del dead


async def versions(store: InventoryStore, *order_ids: str) -> list[int]:
    entries = await store.fetch(order_ids)
    return [entries[order_id].version for order_id in order_ids]

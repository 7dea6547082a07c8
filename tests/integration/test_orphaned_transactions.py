"""A process that dies in a transaction leaves its documents locked for a while."""

import asyncio
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from events.catalogue import InventoryReserved
from events.values import Location
from inventory_service.application import InventoryApplication
from inventory_service.mongo_store import InventoryStore
from inventory_service.stock import Warehouse
from saga.clock import utc_now
from saga.messaging.results import Deferred, Handled
from saga.mongodb.client import Client, connect, database
from tests.support.inventory_store import HOLD, request

REPLICA = "replica-1"
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


def application(store: InventoryStore) -> InventoryApplication:
    return InventoryApplication(store, lambda events: None, utc_now)


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


async def stocked(store: InventoryStore, *products: str) -> None:
    await store.set_warehouses([Warehouse(warehouse_id="w-1", location=Location(latitude=1, longitude=1))])
    for product in products:
        await store.set_level("w-1", product, 5, None)


async def test_a_restarted_replica_ends_its_orphaned_transaction(clients: Clients, name: str) -> None:
    await stocked(await a_store(clients, name), "tea")
    dead = await die_in_a_transaction(clients, name, "tea")
    store = await a_store(clients, name, REPLICA)
    successor = application(store)
    [result] = await successor.handle([request("tea")])
    assert isinstance(result, Handled)
    assert isinstance(result.publish[0], InventoryReserved)
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
    assert isinstance(done.publish[0], InventoryReserved)
    follows = asyncio.ensure_future(waiting.result)
    await a_store(clients, name, REPLICA)
    result = await asyncio.wait_for(follows, 20)
    assert isinstance(result, Handled)
    assert isinstance(result.publish[0], InventoryReserved)
    levels = {level.product_id: (level.available, level.reserved) for level in await store.levels()}
    assert levels == {"tea": (4, 1), "coffee": (4, 1)}
    del dead

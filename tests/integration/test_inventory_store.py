"""The inventory service's store in MongoDB: replicas that share stock, levels, warehouses."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from events.catalogue import InventoryReserved
from events.values import Location
from inventory_service.mongo_store import InventoryStore
from inventory_service.stock import Warehouse
from saga.mongodb.client import Client, Database, connect, database
from tests.support.inventory_store import answers, parts, replica, request

HERE = Location(latitude=52.5, longitude=13.4)
BERLIN = Warehouse(warehouse_id="berlin", location=HERE)
LISBON = Warehouse(warehouse_id="lisbon", name="Lisbon", location=HERE)


@pytest.fixture
def client(mongodb_url: str) -> Iterator[Client]:
    client = connect(mongodb_url)
    yield client
    client.close()


@pytest.fixture
def db(client: Client) -> Database:
    """A database of the test's own."""
    return database(client, f"test_{uuid4().hex[:12]}")


@pytest.fixture
async def inventory(client: Client, db: Database) -> InventoryStore:
    store = replica(client, db)
    await store.prepare()
    return store


@pytest.fixture
async def replicas(mongodb_url: str, db: Database) -> AsyncIterator[list[InventoryStore]]:
    """The stores of two replicas, with a client each."""
    clients = [connect(mongodb_url) for _ in range(2)]
    stores = [replica(client, database(client, db.name)) for client in clients]
    for store in stores:
        await store.prepare()
    yield stores
    for client in clients:
        client.close()


async def test_two_replicas_sell_exactly_what_there_is(replicas: list[InventoryStore]) -> None:
    one, other = replicas
    await one.set_warehouses([BERLIN, LISBON])
    await one.set_level("berlin", "tea", 10, None)
    await one.set_level("lisbon", "tea", 7, None)
    batches = [[request("tea") for _ in range(5)] for _ in range(8)]
    published = await asyncio.gather(
        *(answers(store, batch) for store, batch in zip([one, other] * 4, batches, strict=True))
    )
    kinds = [type(event) for batch in published for event in batch]
    assert len(kinds) == 40
    assert kinds.count(InventoryReserved) == 17
    assert await parts(one, "tea", "berlin") == (0, 10, 0)
    assert await parts(one, "tea", "lisbon") == (0, 7, 0)


async def test_two_replicas_hold_one_order_once(replicas: list[InventoryStore]) -> None:
    await replicas[0].set_warehouses([BERLIN])
    await replicas[0].set_level("berlin", "tea", 10, None)
    requests = [request("tea", 1, f"order-{number}") for number in range(5)]
    first, second = await asyncio.gather(*(answers(store, requests) for store in replicas))
    assert len(first) == 5
    assert first == second
    assert await parts(replicas[0], "tea") == (5, 5, 0)


async def test_levels_are_selected_by_product_and_warehouse(inventory: InventoryStore) -> None:
    await inventory.set_warehouses([BERLIN, LISBON])
    for warehouse in ("berlin", "lisbon"):
        for product in ("tea", "cup"):
            await inventory.set_level(warehouse, product, 1, None)
    assert len(await inventory.levels()) == 4
    assert {found.key for found in await inventory.levels(["tea"])} == {
        ("berlin", "tea"),
        ("lisbon", "tea"),
    }
    assert [found.key for found in await inventory.levels(["tea"], "lisbon")] == [("lisbon", "tea")]
    assert len(await inventory.levels(warehouse_id="lisbon")) == 2
    assert await inventory.levels([]) == []


async def test_warehouses_are_added_and_changed(inventory: InventoryStore) -> None:
    await inventory.set_warehouses([BERLIN, LISBON])
    renamed = BERLIN.model_copy(update={"name": "Berlin"})
    await inventory.set_warehouses([renamed])
    assert await inventory.warehouses() == [renamed, LISBON]


async def test_a_warehouse_that_another_replica_adds_is_found(replicas: list[InventoryStore]) -> None:
    """What a process remembers of the warehouses refuses nothing."""
    one, other = replicas
    await one.set_warehouses([BERLIN])
    await one.set_level("berlin", "tea", 1, None)
    assert [type(event) for event in await answers(one, [request("tea")])] == [InventoryReserved]
    await other.set_warehouses([LISBON])
    await other.set_level("lisbon", "tea", 2, None)
    await other.set_level("lisbon", "cup", 1, None)
    published = await answers(one, [request("tea", 2), request("cup")])
    assert [type(event) for event in published] == [InventoryReserved, InventoryReserved]

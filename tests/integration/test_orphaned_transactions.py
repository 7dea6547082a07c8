"""When a process dies in a transaction, the database keeps its documents out of reach for a while."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from events.catalogue import Event, InventoryReservationRequested, InventoryReserved
from events.values import Location
from inventory_service.application import InventoryApplication
from inventory_service.mongo_store import InventoryStore
from inventory_service.stock import Warehouse
from saga.clock import utc_now
from saga.messaging.results import Deferred, Handled
from saga.mongodb.client import Document, connect, database

REPLICA = "replica-1"
Clients = Callable[[], AsyncIOMotorClient[Document]]


class Nowhere:
    """Nothing is published in these tests."""

    async def send(self, messages: object) -> None:
        raise AssertionError(messages)

    async def check(self) -> None:
        raise AssertionError


@pytest.fixture
def clients(mongodb_url: str) -> Iterator[Clients]:
    """Clients that share nothing, as those of different processes."""
    opened: list[AsyncIOMotorClient[Document]] = []

    def another() -> AsyncIOMotorClient[Document]:
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
    store = InventoryStore(client, database(client, name), utc_now, timedelta(minutes=10), replica)
    await store.prepare()
    return store


def application(store: InventoryStore) -> InventoryApplication:
    return InventoryApplication(store, lambda events: None, utc_now)


def request(product: str) -> Event:
    return InventoryReservationRequested.model_validate(
        {
            "eventId": uuid4().hex,
            "correlationId": "c-1",
            "orderId": uuid4().hex,
            "userId": "u-1",
            "items": [{"productId": product, "quantity": 1}],
            "totalAmount": "1.00",
        }
    )


async def die_in_a_transaction(clients: Clients, name: str, product: str) -> InventoryStore:
    """Open a transaction on a product's stock, as a replica does, and never end it."""
    store = await a_store(clients, name, REPLICA)
    session = store._session
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


async def test_the_successor_of_a_process_that_died_in_a_transaction_ends_it(
    clients: Clients, name: str
) -> None:
    await stocked(await a_store(clients, name), "tea")
    dead = await die_in_a_transaction(clients, name, "tea")
    store = await a_store(clients, name, REPLICA)
    successor = application(store)
    [verdict] = await successor.handle([request("tea")])
    assert isinstance(verdict, Handled)
    assert isinstance(verdict.publish[0], InventoryReserved)
    [level] = await store.levels(["tea"])
    assert (level.available, level.reserved) == (4, 1)
    del dead


async def test_documents_out_of_reach_hold_up_only_those_who_need_them(clients: Clients, name: str) -> None:
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
    verdict = await asyncio.wait_for(follows, 20)
    assert isinstance(verdict, Handled)
    assert isinstance(verdict.publish[0], InventoryReserved)
    levels = {level.product_id: (level.available, level.reserved) for level in await store.levels()}
    assert levels == {"tea": (4, 1), "coffee": (4, 1)}
    del dead

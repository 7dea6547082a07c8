"""Whole-system failures, each test named after the one it provokes; books and audit are the judges."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cli.broker import BrokerNode
from cli.database import DatabaseNode
from cli.stack import Stack
from tests.e2e.conftest import fresh_settings
from tests.e2e.system import System, ended_all, running
from tests.support.broker import until

MANY = 200


@pytest.mark.parametrize("service", ["order_service", "inventory_service", "payment_service"])
async def test_when_a_service_is_killed_in_the_middle_of_many_orders(system: System, service: str) -> None:
    letters = await system.dead_letters()
    product = await system.stock(north=MANY, south=MANY)
    order_ids = list(await asyncio.gather(*(system.place(product) for _ in range(MANY))))
    await until(lambda: some_but_not_all_done(system, product), "the orders are under way", limit=60)
    system.stack.service(service).kill()
    await asyncio.to_thread(system.stack.start_service, service)
    ending = asyncio.create_task(ended_all(system, order_ids))
    while not ending.done():
        assert (await system.audited_running()).broken == {}
    assert [order["status"] for order in await ending] == ["confirmed"] * MANY
    report = await system.audited(order_ids, product)
    assert (report.broken, report.judged, report.places) == ({}, MANY, 2)
    levels = await system.levels(product)
    assert sum(allocated for _, _, allocated in levels.values()) == MANY
    assert all(reserved == 0 and sum(level) == MANY for level in levels.values() for reserved in [level[1]])
    kept, sold = await system.money()
    assert kept == sold
    assert await system.dead_letters() == letters


async def some_but_not_all_done(system: System, product: str) -> bool:
    """Some of the stock is allocated, and some is still only held or not even that."""
    allocated = sum(level[2] for level in (await system.levels(product)).values())
    return 0 < allocated < MANY


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[BrokerNode]:
    """A broker that the test may take away."""
    node = BrokerNode(tmp_path / "rabbitmq")
    node.start()
    try:
        node.wait_ready()
        yield node
    finally:
        node.kill()


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[DatabaseNode]:
    """A database that the test may take away."""
    node = DatabaseNode(tmp_path / "mongodb")
    node.start()
    try:
        node.wait_ready()
        yield node
    finally:
        node.kill()


@pytest.fixture
async def own_system(
    own_broker: BrokerNode, own_database: DatabaseNode, tmp_path: Path
) -> AsyncIterator[System]:
    """A system on a broker and a database that the test may take away."""
    env = {
        "RABBITMQ_URL": own_broker.url,
        "RABBITMQ_MANAGEMENT_URL": own_broker.management_url,
        "MONGODB_URL": own_database.url,
        **fresh_settings(),
    }
    async with running(Stack(tmp_path / "state", env=env), "%2F", env) as system:
        yield system


async def test_when_an_order_is_placed_while_the_broker_is_away(
    own_system: System, own_broker: BrokerNode
) -> None:
    product = await own_system.stock(north=5)
    await asyncio.to_thread(own_broker.kill)
    order_id = await own_system.place(product, 2)
    assert (await own_system.get(f"{own_system.at.order}/orders/{order_id}"))["status"] == "pending"
    await asyncio.to_thread(own_broker.start)
    assert (await own_system.ended(order_id, 90))["status"] == "confirmed"
    assert await own_system.levels(product) == {"north": (3, 0, 2)}
    assert (await own_system.audited([order_id], product)).broken == {}


async def test_when_the_database_dies_with_orders_in_flight(
    own_system: System, own_database: DatabaseNode
) -> None:
    product = await own_system.stock(north=50)
    order_ids = list(await asyncio.gather(*(own_system.place(product) for _ in range(50))))
    await asyncio.to_thread(own_database.kill)
    await asyncio.to_thread(own_database.start)
    await asyncio.to_thread(own_database.wait_ready)
    orders = await ended_all(own_system, order_ids)
    assert [order["status"] for order in orders] == ["confirmed"] * 50
    assert await own_system.levels(product) == {"north": (0, 0, 50)}
    assert (await own_system.audited(order_ids, product)).broken == {}
    kept, sold = await own_system.money()
    assert kept == sold

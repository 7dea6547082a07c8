"""One database process a service: what each holds, who gets in, and what its loss stops."""

import asyncio
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from events.catalogue import INVENTORY, ORDER, PAYMENT, SERVICES
from operations.registry import SPECS
from tests.support.broker import until
from tests.support.system import System, check_all_confirmed

SERVERS_OWN = {"admin", "config", "local"}
COLLECTIONS = {ORDER: "orders", INVENTORY: "reservations", PAYMENT: "payments"}


async def test_each_database_process_holds_one_services_data(system_of_processes: System) -> None:
    system = system_of_processes
    product = await system.stock(north=1)
    order_id = await system.place(product)
    await system.until_status(order_id, "confirmed")
    nodes = system.stack.databases
    assert len({node.children[0].pid for node in nodes.values()}) == len(SERVICES)
    for service in SERVICES:
        client: MongoClient[dict[str, Any]]
        with MongoClient(nodes[service].url) as client:
            (name,) = {*client.list_database_names()} - SERVERS_OWN
            assert name == system.settings[f"{SPECS[service].env_prefix}DATABASE"]
            assert client[name][COLLECTIONS[service]].count_documents({"_id": order_id}) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_unknown_at_the_others_databases(system_of_processes: System, service: str) -> None:
    nodes = system_of_processes.stack.databases
    login = nodes[service].url_of(service).partition("@")[0]
    for other in SERVICES:
        if other != service:
            at = nodes[other].url_of(other).partition("@")[2]
            client: MongoClient[dict[str, Any]]
            with MongoClient(f"{login}@{at}") as client, pytest.raises(OperationFailure):
                client.admin.command("ping")


async def test_a_killed_database_stops_only_its_service(system_of_processes: System) -> None:
    system = system_of_processes
    product = await system.stock(north=2)
    node = system.stack.databases[PAYMENT]
    node.kill()
    try:
        order_ids = [await system.place(product) for _ in range(2)]
        for order_id in order_ids:
            await system.until_status(order_id, "reserved")

        async def payment_is_down() -> bool:
            return (await system.get(f"{system.at.payment}/readyz")).get("status") == 503

        await until(payment_is_down, "the payment service is not ready", limit=60)
        for base in (system.at.order, system.at.inventory):
            assert (await system.get(f"{base}/readyz")).get("status") != 503
    finally:
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(node.wait_ready)
    await check_all_confirmed(system, product, order_ids, 2)

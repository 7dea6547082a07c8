"""The inventory service on a real broker and database; all tests of this package share it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from events.catalogue import INVENTORY, ORDER, PAYMENT
from local_stack.mongodb_node import DatabaseNode
from tests.integration.inventory_service.driver import HOLD_SECONDS, WAREHOUSES, InventoryDriver
from tests.support.broker import Broker, BrokerAddress, virtual_host
from tests.support.services import NEVER, ServiceProcess, database_server, run_service, stand_in_for_others


@pytest.fixture(scope="package")
def package_broker(broker_node: BrokerAddress) -> Iterator[Broker]:
    """A virtual host that the tests of this package share."""
    with virtual_host(broker_node) as broker:
        yield broker


@pytest.fixture(scope="package")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseNode]:
    """A database server of this package, which a test may kill."""
    with database_server(tmp_path_factory.mktemp("mongodb")) as node:
        yield node


@pytest.fixture(scope="package")
def service(
    package_broker: Broker, database: DatabaseNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    directory = tmp_path_factory.mktemp("inventory")
    settings = {"hold_seconds": str(HOLD_SECONDS), "sweep_every": "0.1", "nudge_after": NEVER}
    with run_service(INVENTORY, package_broker.url, database.url, directory, **settings) as service:
        yield service


@pytest.fixture
async def inventory(package_broker: Broker, service: ServiceProcess) -> AsyncIterator[InventoryDriver]:
    async with package_broker.connected() as client:
        neighbours = await stand_in_for_others(client, INVENTORY)
        service.wait_ready()
        service.http.put("/warehouses", json={"warehouses": WAREHOUSES}).raise_for_status()
        inventory = InventoryDriver(service, client, neighbours[ORDER])
        yield inventory
        inventory.check_books()
        for queue in (ORDER, PAYMENT):
            assert await client.depth(queue) == 0, f"an event for {queue} that the test did not expect"

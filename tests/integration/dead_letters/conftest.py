"""One inventory service for these tests, and a driver of its dead letters."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from events.catalogue import (
    INVENTORY,
    ORDER,
)
from tests.integration.dead_letters.driver import DATABASE, SERVICE, DeadLetterDriver
from tests.support.broker import Broker, BrokerAddress, virtual_host
from tests.support.dead_letters import (
    Commands,
)
from tests.support.services import ServiceProcess, run_service, stand_in_for_others


@pytest.fixture(scope="package")
def package_broker(broker_node: BrokerAddress) -> Iterator[Broker]:
    """A virtual host that the tests of this package share."""
    with virtual_host(broker_node) as broker:
        yield broker


@pytest.fixture(scope="package")
def service(
    package_broker: Broker, mongodb_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    directory = tmp_path_factory.mktemp("inventory")
    with run_service(INVENTORY, package_broker.url, mongodb_url, directory, database=DATABASE) as service:
        yield service


@pytest.fixture
def saga(package_broker: Broker, mongodb_url: str, tmp_path: Path) -> Commands:
    return Commands(package_broker.url, mongodb_url, DATABASE, tmp_path)


@pytest.fixture
async def inventory(package_broker: Broker, service: ServiceProcess) -> AsyncIterator[DeadLetterDriver]:
    async with package_broker.connected() as client:
        neighbours = await stand_in_for_others(client, INVENTORY)
        service.wait_ready()
        location = {"latitude": 52.5, "longitude": 13.4}
        warehouses = {"warehouses": [{"warehouseId": "berlin", "location": location}]}
        service.http.put("/warehouses", json=warehouses).raise_for_status()
        yield DeadLetterDriver(service, client, neighbours[ORDER])
        for queue in (SERVICE.dead_letter_queue, ORDER):
            await (await client.channel.get_queue(queue, ensure=False)).purge()

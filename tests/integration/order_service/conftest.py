"""The order service on a real broker and database; all tests of this package share it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from events.catalogue import INVENTORY, ORDER, PAYMENT
from tests.integration.order_service.driver import OtherServices
from tests.support.broker import Broker, BrokerAddress, virtual_host
from tests.support.services import NEVER, ServiceProcess, run_service, stand_in_for_others


@pytest.fixture(scope="package")
def package_broker(broker_node: BrokerAddress) -> Iterator[Broker]:
    """A virtual host that the tests of this package share."""
    with virtual_host(broker_node) as broker:
        yield broker


@pytest.fixture(scope="package")
def service(
    package_broker: Broker, mongodb_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    with run_service(
        ORDER, package_broker.url, mongodb_url, tmp_path_factory.mktemp("order"), nudge_after=NEVER
    ) as service:
        yield service


@pytest.fixture
async def others(package_broker: Broker, service: ServiceProcess) -> AsyncIterator[OtherServices]:
    async with package_broker.connected() as client:
        neighbours = await stand_in_for_others(client, ORDER)
        service.wait_ready()
        yield OtherServices(client, neighbours)
        for queue in (INVENTORY, PAYMENT):
            assert await client.depth(queue) == 0, f"an event for {queue} that the test did not expect"

"""The payment service on a real broker and database; all tests of this package share it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from events.catalogue import INVENTORY, ORDER, PAYMENT
from local_stack.mongodb_node import DatabaseNode
from tests.integration.payment_service.driver import DECLINE_ABOVE
from tests.support.broker import Broker, BrokerAddress, virtual_host
from tests.support.payment_driver import PaymentDriver
from tests.support.services import ServiceProcess, database_server, run_service, stand_in_for_others


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
    directory = tmp_path_factory.mktemp("payment")
    settings = {"call_timeout": "0.3", "sweep_every": "0.1", "sim_decline_above": DECLINE_ABOVE}
    settings |= {"refund_attempts": "2", "refund_pause": "0.2"}
    with run_service(PAYMENT, package_broker.url, database.url, directory, **settings) as service:
        yield service


@pytest.fixture
async def payments(package_broker: Broker, service: ServiceProcess) -> AsyncIterator[PaymentDriver]:
    async with package_broker.connected() as client:
        neighbours = await stand_in_for_others(client, PAYMENT)
        service.wait_ready()
        payments = PaymentDriver(service, client, neighbours[ORDER])
        yield payments
        assert await client.depth(INVENTORY) == 0, "an event for inventory"
        assert await client.depth(ORDER) == 0 or not payments.once, "an event that the test did not expect"

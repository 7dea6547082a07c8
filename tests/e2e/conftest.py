"""Systems to test from outside, as processes and as containers: one set of scenarios, two ways to run it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from events.catalogue import SERVICES
from local_stack.stack import Stack
from operations.access.passwords import RABBITMQ, url_variable
from saga.messaging.users import OPERATOR
from tests.support.broker import Broker, BrokerAddress, virtual_host
from tests.support.containers import ContainerStack
from tests.support.system import System, fresh_settings, running
from tests.support.users import at, load_users

CONTAINERS = pytest.param("containers", marks=[pytest.mark.containers, pytest.mark.timeout(600)])
"""The first test that uses them waits for the image and for every container to start."""


@pytest.fixture(scope="package", params=["processes", CONTAINERS])
def system(request: pytest.FixtureRequest) -> System:
    """A running system, shared by all tests that leave it running."""
    found: System = request.getfixturevalue(f"system_of_{request.param}")
    return found


@pytest.fixture(scope="package")
def system_broker(broker_node: BrokerAddress) -> Iterator[Broker]:
    """The virtual host of the shared processes."""
    with virtual_host(broker_node) as broker:
        yield load_users(broker)


@pytest.fixture(scope="package")
async def system_of_processes(
    system_broker: Broker,
    broker_node: BrokerAddress,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[System]:
    """Services as processes on the tests' broker, with a database of their own, each logged in as itself."""
    env = {
        "RABBITMQ_URL": at(system_broker, OPERATOR).url,
        "RABBITMQ_MANAGEMENT_URL": broker_node.management_url,
        **{url_variable(service, RABBITMQ): at(system_broker, service).url for service in SERVICES},
        "PAYMENT_REFUND_ATTEMPTS": "1",
        **fresh_settings(),
    }
    stack = Stack(tmp_path_factory.mktemp("system"), env=env)
    async with running(stack, env) as system:
        yield system


@pytest.fixture(scope="package")
def containers(tmp_path_factory: pytest.TempPathFactory) -> ContainerStack:
    """Services, broker and database as containers; `system_of_containers` starts them."""
    return ContainerStack(tmp_path_factory.mktemp("containers"))


@pytest.fixture(scope="package")
async def system_of_containers(containers: ContainerStack) -> AsyncIterator[System]:
    """The same, running. A test may stop any container, and starts it again."""
    async with running(containers, containers.databases, containers.token) as system:
        yield system

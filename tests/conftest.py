"""A broker and a database of the tests' own, on free ports; each test gets a virtual host to itself."""

import asyncio
import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from local_stack.mongodb_node import DatabaseNode
from local_stack.rabbitmq_node import BrokerNode
from local_stack.rabbitmq_probe import BrokerUrls
from tests.support.broker import Broker, BrokerAddress, virtual_host
from tests.support.stacks import waiting_tasks

# How long an example takes depends on how busy the machine is. In CI the examples are always the same ones.
settings.register_profile("tests", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("tests")

TESTS = Path(__file__).parent
NEED_NO_SERVERS = ("simulation", "unit")

pytest_plugins = ["tests.support.needs"]

_loops: list[asyncio.AbstractEventLoop] = []


@pytest.fixture(scope="session", autouse=True)
async def known_loop() -> AsyncIterator[None]:
    """Remember the event loop of all tests, for the report of one that hangs."""
    _loops.append(asyncio.get_running_loop())
    yield
    _loops.clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests first that need no servers: what only computes is much faster while none is running."""
    items.sort(key=lambda item: item.path.relative_to(TESTS).parts[0] not in NEED_NO_SERVERS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show where everything waits when a test has hung."""
    report = yield
    if call.excinfo is not None and "from pytest-timeout" in str(call.excinfo.value):
        report.sections += [("asyncio tasks", waiting_tasks(loop)) for loop in _loops]
    return report


@pytest.fixture(scope="session")
def broker_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerAddress]:
    """A RabbitMQ node that all tests share: TEST_RABBITMQ_URL's (scripts/test-on-rabbitmq), or our own."""
    if url := os.environ.get("TEST_RABBITMQ_URL"):
        yield BrokerUrls(url, os.environ["TEST_RABBITMQ_MANAGEMENT_URL"])
        return
    node = BrokerNode(tmp_path_factory.mktemp("rabbitmq"))
    node.start()
    try:
        node.wait_ready()
        yield node
    finally:
        node.kill()


@pytest.fixture(scope="session")
def database_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseNode]:
    """A database server that all tests share."""
    node = DatabaseNode(tmp_path_factory.mktemp("mongodb"))
    node.start()
    try:
        node.wait_ready()
        yield node
    finally:
        node.kill()


@pytest.fixture
def broker(broker_node: BrokerAddress) -> Iterator[Broker]:
    """A virtual host of the test's own."""
    with virtual_host(broker_node) as broker:
        yield broker


@pytest.fixture(scope="module")
def module_broker(broker_node: BrokerAddress) -> Iterator[Broker]:
    """A virtual host that the tests of a module share."""
    with virtual_host(broker_node) as broker:
        yield broker


@pytest.fixture(scope="session")
def mongodb_url(database_node: DatabaseNode) -> str:
    """The URL of the shared database server; use a database name of your own."""
    return database_node.url

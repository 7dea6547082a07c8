"""A broker and a database of the tests' own, on free ports; each test gets a virtual host to itself."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from cli.broker import BrokerNode
from cli.database import DatabaseNode
from tests.support.broker import Broker


@pytest.fixture(scope="session")
def broker_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerNode]:
    """A RabbitMQ node that all tests share."""
    node = BrokerNode(tmp_path_factory.mktemp("rabbitmq"))
    node.start()
    try:
        node.wait_ready()
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="session")
def database_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseNode]:
    """A database server that all tests share."""
    node = DatabaseNode(tmp_path_factory.mktemp("mongodb"))
    node.start()
    try:
        node.wait_ready()
        yield node
    finally:
        node.stop()


@pytest.fixture
def broker(broker_node: BrokerNode) -> Iterator[Broker]:
    """A virtual host of the test's own."""
    name = f"test-{uuid4().hex[:12]}"
    with httpx.Client(base_url=broker_node.management_url, auth=("guest", "guest"), trust_env=False) as api:
        api.put(f"/api/vhosts/{name}").raise_for_status()
        permissions = {"configure": ".*", "write": ".*", "read": ".*"}
        api.put(f"/api/permissions/{name}/guest", json=permissions).raise_for_status()
        yield Broker(f"{broker_node.url}{name}", name, api)
        api.delete(f"/api/vhosts/{name}").raise_for_status()


@pytest.fixture
def mongodb_url(database_node: DatabaseNode) -> str:
    """The URL of the shared database server; use a database name of your own."""
    return database_node.url

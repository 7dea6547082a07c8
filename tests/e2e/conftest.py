"""One system for the tests that leave it whole: services as processes, on the tests' broker and database."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from cli.broker import BrokerNode
from cli.process import free_port
from cli.stack import Stack
from tests.e2e.system import System, running
from tests.support.broker import Broker, virtual_host


@pytest.fixture(scope="session")
def system_broker(broker_node: BrokerNode) -> Iterator[Broker]:
    """The virtual host of the shared system."""
    with virtual_host(broker_node) as broker:
        yield broker


@pytest.fixture(scope="session")
async def system(
    system_broker: Broker,
    broker_node: BrokerNode,
    mongodb_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[System]:
    """A running system, shared by all tests that leave it whole."""
    env = {
        "RABBITMQ_URL": system_broker.url,
        "RABBITMQ_MANAGEMENT_URL": broker_node.management_url,
        "MONGODB_URL": mongodb_url,
        **fresh_settings(),
    }
    stack = Stack(tmp_path_factory.mktemp("system"), env=env)
    async with running(stack, system_broker.vhost, env) as system:
        yield system


def fresh_settings() -> dict[str, str]:
    """Ports and databases that nobody else uses."""
    settings = {}
    for service in ("order", "inventory", "payment"):
        settings[f"{service.upper()}_PORT"] = str(free_port())
        settings[f"{service.upper()}_DATABASE"] = f"{service}_{uuid4().hex[:12]}"
    return settings

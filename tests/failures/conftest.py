"""The systems that failures are provoked in."""

from collections.abc import AsyncIterator

import pytest

from cli.broker import BrokerNode
from cli.stack import Stack
from tests.e2e.conftest import fresh_settings
from tests.e2e.system import running
from tests.failures.scene import Scene
from tests.support.broker import virtual_host
from tests.support.tap import DurableTap


@pytest.fixture(scope="session")
async def scene(
    broker_node: BrokerNode, mongodb_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    """A system on the tests' broker and database, shared by the tests of this directory."""
    with virtual_host(broker_node) as broker:
        env = {
            "RABBITMQ_URL": broker.url,
            "RABBITMQ_MANAGEMENT_URL": broker_node.management_url,
            "MONGODB_URL": mongodb_url,
            **fresh_settings(),
        }
        stack = Stack(tmp_path_factory.mktemp("failures"), env=env)
        told = DurableTap(broker.url)
        async with running(stack, broker.vhost) as system:
            await told.declare()
            yield Scene(system, env, told)

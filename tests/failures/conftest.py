"""Running systems for the tests to break."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from local_stack.mongodb_node import DatabaseNode
from local_stack.proxy import proxy_to
from local_stack.rabbitmq_node import BrokerNode
from local_stack.stack import Stack
from tests.failures.outage import Outage, port_of
from tests.failures.scenario import FailureScenario
from tests.support.broker import virtual_host
from tests.support.system import fresh_settings, running
from tests.support.tap import DurableTap

IMPATIENT = {
    f"{service}_{name}": value
    for service in ("ORDER", "INVENTORY", "PAYMENT")
    for name, value in {"PUBLISH_TIMEOUT": "3", "PREFETCH": "25"}.items()
}
"""Settings that make services notice an outage soon, and a backlog larger than their prefetch."""

NO_NUDGES = {"ORDER_NUDGE_AFTER": "3600", "INVENTORY_NUDGE_AFTER": "3600"}
"""Settings without nudges: redelivery and relay alone must bring every order to its end."""


@pytest.fixture(scope="package")
async def scenario(
    broker_node: BrokerNode, mongodb_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FailureScenario]:
    """A system on the tests' broker and database, shared by the tests of this directory."""
    with virtual_host(broker_node) as broker:
        env = {
            "RABBITMQ_URL": broker.url,
            "RABBITMQ_MANAGEMENT_URL": broker_node.management_url,
            "MONGODB_URL": mongodb_url,
            **fresh_settings(),
            **NO_NUDGES,
        }
        stack = Stack(tmp_path_factory.mktemp("failures"), env=env)
        tap = DurableTap(broker.url)
        async with running(stack, env) as system:
            await tap.declare()
            yield FailureScenario(system, env, tap)


@pytest.fixture
async def outage(outage_system: Outage) -> AsyncIterator[Outage]:
    """A running system whose broker, database and network a test may fail."""
    yield outage_system
    await outage_system.restore()


@pytest.fixture(scope="package")
async def outage_system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Outage]:
    """The system that the tests of outages share."""
    directory = tmp_path_factory.mktemp("outages")
    broker, database = BrokerNode(directory / "rabbitmq"), DatabaseNode(directory / "mongodb")
    broker.start()
    database.start()
    try:
        await asyncio.to_thread(broker.wait_ready)
        await asyncio.to_thread(database.wait_ready)
        async with proxy_to(port_of(broker.url)) as network:
            env = {
                "RABBITMQ_URL": f"amqp://guest:guest@127.0.0.1:{network.port}/?heartbeat=4",
                "RABBITMQ_MANAGEMENT_URL": broker.management_url,
                "MONGODB_URL": database.url,
                **fresh_settings(),
                **IMPATIENT,
                **NO_NUDGES,
            }
            tap = DurableTap(broker.url)
            async with running(Stack(directory / "state", env=env), env) as system:
                await tap.declare()
                scenario = FailureScenario(system, env, tap)
                yield Outage(scenario, broker, database, network, directory / "rabbitmq")
    finally:
        broker.kill()
        database.kill()

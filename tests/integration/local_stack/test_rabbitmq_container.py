"""RabbitMQ as a container, for a machine where it is not installed."""

import subprocess
from pathlib import Path

import aio_pika
import pytest

from events.catalogue import ORDER
from local_stack.process import free_port
from local_stack.rabbitmq_container import BrokerContainer
from operations.access.broker_definitions import users
from operations.access.passwords import RABBITMQ, named_or_made
from saga.rabbitmq.declare import declare_own
from tests.support.services import TOPOLOGIES

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]


def broker_of(directory: Path) -> BrokerContainer:
    return BrokerContainer(
        directory,
        amqp_port=free_port(),
        management_port=free_port(),
        log=directory / "rabbitmq.log",
        passwords=named_or_made(users(TOPOLOGIES.values()), RABBITMQ, {}),
    )


def containers() -> list[str]:
    command = ("docker", "ps", "--all", "--filter", "name=saga-rabbitmq-", "--format", "{{.Names}}")
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()


async def test_broker_in_docker_works_and_is_removed_at_the_end(tmp_path: Path) -> None:
    before = containers()
    broker = broker_of(tmp_path)
    try:
        broker.start()
        broker.wait_ready()
        async with await aio_pika.connect(broker.url_of(ORDER)) as connection:
            await declare_own(connection, TOPOLOGIES[ORDER])
    finally:
        broker.stop()
    assert containers() == before


def test_container_of_a_killed_stack_is_replaced(tmp_path: Path) -> None:
    before = containers()
    killed, following = broker_of(tmp_path), broker_of(tmp_path)
    try:
        killed.start()
        killed.wait_ready()
        killed.children[0].kill()
        assert len(containers()) == len(before) + 1
        following.start()
        following.wait_ready()
        assert len(containers()) == len(before) + 1
    finally:
        following.stop()
    assert containers() == before

"""A private node loads the definitions at each start, also one that has lost its data."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection

from events.catalogue import INVENTORY, ORDER, SERVICES
from local_stack.rabbitmq_node import BrokerNode
from operations.broker_session import broker_session
from operations.errors import CommandFailed
from saga.messaging.users import OPERATOR, PUBLISHER
from saga.rabbitmq.publisher import depths
from tests.support.broker import until
from tests.support.users import PASSWORDS, published

REQUEST = "InventoryReservationRequested"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[BrokerNode]:
    node = BrokerNode(tmp_path, passwords=PASSWORDS)
    yield node
    node.kill()


async def test_an_empty_broker_accepts_messages_for_down_services(node: BrokerNode, tmp_path: Path) -> None:
    for _ in range(2):
        node.start()
        node.wait_ready()
        async with await aio_pika.connect(node.url_of(PUBLISHER)) as connection:
            await published("order.events", f"{REQUEST}.o-1", user_id=PUBLISHER)(await connection.channel())
        for service in SERVICES:
            async with await aio_pika.connect(node.url_of(service)) as connection:
                await has(connection, service, 1 if service in (ORDER, INVENTORY) else 0)
        node.kill()
        shutil.rmtree(tmp_path / "data")


async def has(connection: AbstractConnection, queue: str, messages: int) -> None:
    async def so_many() -> bool:
        return (await depths(connection, [queue]))[queue] == messages

    await until(so_many, f"{queue} holds {messages} messages")


async def test_neither_guest_nor_an_old_password_can_log_in(node: BrokerNode, tmp_path: Path) -> None:
    node.start()
    node.wait_ready()
    stale = node.url_of(OPERATOR)
    await refused(stale.replace(f"{OPERATOR}:{PASSWORDS[OPERATOR]}", "guest:guest"))
    node.kill()
    again = BrokerNode(tmp_path, passwords={**PASSWORDS, OPERATOR: "another"})
    again.start()
    try:
        again.wait_ready()
        async with broker_session(again.url):
            pass
        await refused(again.url.replace("another", PASSWORDS[OPERATOR]))
    finally:
        again.kill()


async def refused(url: str) -> None:
    with pytest.raises(CommandFailed, match="refuses"):
        async with broker_session(url):
            pass

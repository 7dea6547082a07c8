"""A client of the broker, and the order service's place in it, played by the test."""

from collections.abc import AsyncIterator

import pytest

from tests.support.broker import Broker, Client, Neighbour
from tests.support.confirming_service import ASKER


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[Client]:
    async with broker.connected() as client:
        yield client


@pytest.fixture
async def asker(client: Client) -> Neighbour:
    """The order service's place at the broker: it asks, and takes the answers."""
    asker = await client.stand_in_for(ASKER)
    await client.channel.declare_exchange("inventory.events", "topic", durable=True)
    await asker.bind()
    return asker

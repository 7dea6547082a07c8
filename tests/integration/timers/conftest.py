"""A database, a clock, and the places of the other services at the broker."""

from collections.abc import AsyncIterator

import pytest

from events.catalogue import ORDER, PAYMENT
from saga.clock import utc_now
from saga.rabbitmq.client import BrokerClient
from tests.integration.timers.driver import Neighbours, Stores, connected
from tests.support.broker import Broker, Client
from tests.support.clock import Clock
from tests.support.services import stand_in_for_others


@pytest.fixture
def clock() -> Clock:
    return Clock(utc_now())


@pytest.fixture
async def stores(mongodb_url: str, clock: Clock) -> AsyncIterator[Stores]:
    stores = Stores(mongodb_url, clock)
    await stores.orders().prepare()
    await stores.payments().prepare()
    yield stores
    stores.close()


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[Client]:
    async with broker.connected() as client:
        yield client


@pytest.fixture
async def neighbours(client: Client) -> Neighbours:
    """Inventory and payment, as the order service meets them."""
    return Neighbours(client, await stand_in_for_others(client, ORDER))


@pytest.fixture
async def rabbit(broker: Broker, neighbours: Neighbours) -> AsyncIterator[BrokerClient]:
    """The order service's link to the broker."""
    async with connected(broker.url, ORDER) as rabbit:
        yield rabbit


@pytest.fixture
async def payers(client: Client) -> Neighbours:
    """Order and inventory, as the payment service meets them."""
    return Neighbours(client, await stand_in_for_others(client, PAYMENT))


@pytest.fixture
async def paying(broker: Broker, payers: Neighbours) -> AsyncIterator[BrokerClient]:
    """The payment service's link to the broker."""
    async with connected(broker.url, PAYMENT) as rabbit:
        yield rabbit

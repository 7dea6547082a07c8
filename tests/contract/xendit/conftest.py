"""The adapter for Xendit, and the stand-in that it talks to."""

import random
from collections.abc import AsyncIterator, Iterator

import pytest

from payment_service.providers.xendit.client import XenditProvider
from tests.contract.xendit.driver import IMPATIENT, MERCHANT, client
from tests.support.clock import Clock
from tests.support.xendit import StandIn, stand_in


@pytest.fixture(scope="package")
def server() -> Iterator[StandIn]:
    with stand_in() as xendit:
        yield xendit


@pytest.fixture
def xendit(server: StandIn) -> StandIn:
    """The stand-in, with empty books."""
    server.clear()
    return server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def provider(xendit: StandIn, clock: Clock) -> AsyncIterator[XenditProvider]:
    async with client(xendit.url) as http:
        yield XenditProvider(http, MERCHANT, clock.seconds, random.Random(1))


@pytest.fixture
async def impatient(xendit: StandIn, clock: Clock) -> AsyncIterator[XenditProvider]:
    """An adapter with a short timeout, for a stand-in that is silent."""
    async with client(xendit.url, read_timeout=IMPATIENT) as http:
        yield XenditProvider(http, MERCHANT, clock.seconds)

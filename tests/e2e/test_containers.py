"""Containers that fail in the middle of many orders; the books are the judge."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.containers import Container, ContainerStack
from tests.support.system import System, check_all_confirmed, place_many, under_way

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

MANY = 60
HELD = 3.0
"""Seconds that a container is paused or away: long enough to be felt by every other part."""


async def killed(container: Container) -> None:
    """It dies, and is started again."""
    await asyncio.to_thread(container.kill)
    await asyncio.to_thread(container.start)


async def paused(container: Container) -> None:
    """It stands still for a while."""
    with container.paused():
        await asyncio.sleep(HELD)


async def cut_off(container: Container) -> None:
    """The network loses it for a while."""
    with container.cut_off():
        await asyncio.sleep(HELD)


async def restarted(container: Container) -> None:
    """It is stopped in order, and started again."""
    await asyncio.to_thread(container.restart)


Failure = Callable[[Container], Awaitable[None]]


@pytest.mark.parametrize("failure", [killed, paused, cut_off, restarted])
@pytest.mark.parametrize("part", ["rabbitmq", "mongodb", "order", "inventory", "payment"])
async def test_every_order_ends_and_the_books_balance_when(
    system_of_containers: System, containers: ContainerStack, part: str, failure: Failure
) -> None:
    system = system_of_containers
    letters = await system.dead_letters()
    product = await system.stock(north=MANY, south=MANY)
    order_ids = await place_many(system, product, MANY)
    await under_way(system, product, MANY)
    container = containers.part(part)
    await failure(container)
    await asyncio.to_thread(container.wait_ready)
    await check_all_confirmed(system, product, order_ids, 2 * MANY)
    assert await system.dead_letters() == letters

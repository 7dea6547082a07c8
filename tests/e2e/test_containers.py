"""Containers that fail in the middle of many orders; the books are the judge.

Ten of all twenty pairs of a part and a failure; all with ALL_CONTAINER_FAULTS=1 in the environment.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from itertools import product

import pytest

from tests.support.containers import Container, ContainerStack
from tests.support.system import System, check_all_confirmed, in_progress, place_many

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

MANY = 60
HELD = 3.0
"""Seconds that a container is paused or cut off: long enough for every other part to notice."""


async def killed(container: Container) -> None:
    """Kill it, and start it again."""
    await asyncio.to_thread(container.kill)
    await asyncio.to_thread(container.start)


async def paused(container: Container) -> None:
    """Freeze it for a while."""
    with container.paused():
        await asyncio.sleep(HELD)


async def cut_off(container: Container) -> None:
    """Disconnect it from the network for a while."""
    with container.cut_off():
        await asyncio.sleep(HELD)


async def restarted(container: Container) -> None:
    """Stop it gracefully, and start it again."""
    await asyncio.to_thread(container.restart)


Failure = Callable[[Container], Awaitable[None]]


PARTS = ("rabbitmq", "mongodb", "order", "inventory", "payment")
FAILURES: tuple[Failure, ...] = (killed, paused, cut_off, restarted)
HALF: list[tuple[str, Failure]] = [
    ("rabbitmq", killed),
    ("rabbitmq", cut_off),
    ("mongodb", killed),
    ("mongodb", paused),
    ("order", paused),
    ("order", restarted),
    ("inventory", killed),
    ("inventory", cut_off),
    ("payment", cut_off),
    ("payment", restarted),
]
"""Each part with two failures, each failure with two parts or three: the likeliest pairs."""

FAULTS = list(product(PARTS, FAILURES)) if os.environ.get("ALL_CONTAINER_FAULTS") else HALF


@pytest.mark.parametrize(("part", "failure"), FAULTS)
async def test_when_a_container_fails_all_orders_end_and_books_balance(
    system_of_containers: System, containers: ContainerStack, part: str, failure: Failure
) -> None:
    system = system_of_containers
    letters = await system.dead_letters()
    product = await system.stock(north=MANY, south=MANY)
    order_ids = await place_many(system, product, MANY)
    await in_progress(system, product, MANY)
    container = containers.part(part)
    await failure(container)
    await asyncio.to_thread(container.wait_ready)
    await check_all_confirmed(system, product, order_ids, 2 * MANY)
    assert await system.dead_letters() == letters

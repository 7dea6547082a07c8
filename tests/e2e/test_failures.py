"""A service is killed anywhere in the middle of many orders; books and audit are the judges.

The failures at chosen points, and those of broker, database and network, are in `tests/failures`.
"""

import asyncio

import pytest

from tests.e2e.system import System, ended_all
from tests.support.broker import until

MANY = 200


@pytest.mark.parametrize("service", ["order_service", "inventory_service", "payment_service"])
async def test_when_a_service_is_killed_in_the_middle_of_many_orders(system: System, service: str) -> None:
    letters = await system.dead_letters()
    product = await system.stock(north=MANY, south=MANY)
    order_ids = list(await asyncio.gather(*(system.place(product) for _ in range(MANY))))
    await until(lambda: some_but_not_all_done(system, product), "the orders are under way", limit=60)
    system.stack.service(service).kill()
    await asyncio.to_thread(system.stack.start_service, service)
    ending = asyncio.create_task(ended_all(system, order_ids))
    while not ending.done():
        assert (await system.audited_running()).broken == {}
        await asyncio.wait([ending], timeout=0.5)
    assert [order["status"] for order in await ending] == ["confirmed"] * MANY
    report = await system.audited(order_ids, product)
    assert (report.broken, report.judged, report.places) == ({}, MANY, 2)
    levels = await system.levels(product)
    assert sum(allocated for _, _, allocated in levels.values()) == MANY
    assert all(reserved == 0 and sum(level) == MANY for level in levels.values() for reserved in [level[1]])
    kept, sold = await system.money()
    assert kept == sold
    assert await system.dead_letters() == letters


async def some_but_not_all_done(system: System, product: str) -> bool:
    """Some of the stock is allocated, and some is still only held or not even that."""
    allocated = sum(level[2] for level in (await system.levels(product)).values())
    return 0 < allocated < MANY

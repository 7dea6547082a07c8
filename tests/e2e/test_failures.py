"""A service is killed in the middle of many orders; books and audit are the judges.

The failures at chosen points, and those of broker, database and network, are in `tests/failures`; those of
containers in `test_containers.py`.
"""

import asyncio

import pytest

from tests.support.system import System, check_all_confirmed, ended_all, in_progress, place_many

MANY = 100


@pytest.mark.parametrize("service", ["order_service", "inventory_service", "payment_service"])
async def test_when_a_service_is_killed_in_the_middle_of_many_orders(
    system_of_processes: System, service: str
) -> None:
    system = system_of_processes
    letters = await system.dead_letters()
    product = await system.stock(north=MANY, south=MANY)
    order_ids = await place_many(system, product, MANY)
    await in_progress(system, product, MANY)
    await asyncio.to_thread(system.whole.service(service).kill)
    await asyncio.to_thread(system.whole.start_service, service)
    ending = asyncio.create_task(ended_all(system, order_ids))
    while not ending.done():
        assert (await system.audited_running()).broken == {}
        await asyncio.wait([ending], timeout=0.5)
    await ending
    await check_all_confirmed(system, product, order_ids, 2 * MANY)
    assert await system.dead_letters() == letters

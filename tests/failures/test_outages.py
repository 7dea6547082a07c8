"""Broker, database and network fail with orders in progress, and recover.

Orders are in flight when a failure happens, and more are placed meanwhile. Afterwards nothing is lost or
doubled, every service reads its queues, and the books of stock and money balance.
"""

import asyncio
import json
import signal
from uuid import uuid4

from tests.failures.conftest import IMPATIENT
from tests.failures.outage import Outage
from tests.support.broker import Client, until

MANY, MORE = 20, 10
BACKLOG = 200
"""Messages that wait in a queue: eight times what a service may hold."""
LARGE = 120_000
"""Bytes of one of them."""


async def test_when_the_broker_is_stopped_and_started(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.in_progress(product, MANY)
    await asyncio.to_thread(outage.broker.stop)
    await outage.all_stopped_working()
    async with outage.placing(product, MORE) as more:
        pass
    await outage.start_broker()
    await outage.check_recovered(order_ids + more, product)


async def test_when_the_broker_is_killed_and_started(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.in_progress(product, MANY)
    outage.broker.kill()
    async with outage.placing(product, MORE) as more:
        pass
    await outage.start_broker()
    await outage.check_recovered(order_ids + more, product)


async def test_when_the_database_is_stopped_and_started(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.in_progress(product, MANY)
    await asyncio.to_thread(outage.database.stop)
    async with outage.placing(product, MORE) as more:
        await outage.all_stopped_working()
        await outage.start_database()
    await outage.check_recovered(order_ids + more, product)


async def test_when_broker_and_database_are_killed_and_started(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.in_progress(product, MANY)
    outage.broker.kill()
    outage.database.kill()
    async with outage.placing(product, MORE) as more:
        await outage.start_database()
        await outage.start_broker()
    await outage.check_recovered(order_ids + more, product)


async def test_when_connections_are_cut_while_publishing(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=3 * MORE)
    order_ids = await outage.in_progress(product, MANY)
    for sent in (700, 3_000, 5_500):
        cuts = outage.network.cuts

        def cut(sent: int = sent, cuts: int = cuts) -> bool:
            outage.network.cut_after(sent)  # repeatedly: a service may have been reconnecting
            return outage.network.cuts > cuts

        async with outage.placing(product, MORE) as more:
            await until(cut, "a connection was cut", limit=60)
        order_ids += more
    await outage.network.heal()
    await outage.check_recovered(order_ids, product)


async def test_when_the_network_is_slow_and_its_windows_are_small(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    outage.network.slow(latency=0.05, window=1024)
    order_ids = await outage.in_progress(product, MANY)
    async with outage.placing(product, MORE) as more:
        pass
    await outage.scenario.check_all_confirmed(order_ids + more, product)
    await outage.network.heal()
    await outage.check_recovered(order_ids + more, product)


async def test_when_the_network_falls_silent_for_a_while(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.in_progress(product, MANY)
    outage.network.stall()
    async with outage.placing(product, MORE) as more:
        await outage.all_stopped_working()
    await outage.network.heal()
    await outage.check_recovered(order_ids + more, product)


async def test_when_the_broker_is_short_of_memory(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.in_progress(product, MANY)
    await outage.set_memory_limit("1MB")
    try:
        more = [await outage.system.place_with_retries(product) for _ in range(MORE)]
        # The broker notifies only connections that publish.
        await outage.stopped_working("order_service", because="blocks publishers")
        for order_id in more:
            await outage.system.until_status(order_id, "pending")
    finally:
        await outage.set_memory_limit("1GB")
    await outage.check_recovered(order_ids + more, product)


async def test_when_the_database_hangs_for_a_while(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.in_progress(product, MANY)
    outage.database.children[0].signal(signal.SIGSTOP)
    async with outage.placing(product, MORE) as more:
        await outage.all_stopped_working()
        outage.database.children[0].signal(signal.SIGCONT)
    await outage.check_recovered(order_ids + more, product)


async def test_when_the_database_hangs_under_a_backlog_memory_is_flat(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY)
    order_ids = await outage.in_progress(product, MANY)
    backlog = [f"backlog-{uuid4().hex}" for _ in range(BACKLOG)]
    await outage.scenario.check_all_confirmed(order_ids, product)
    before = outage.memory()
    outage.database.children[0].signal(signal.SIGSTOP)
    async with outage.broker_client() as client:
        await asyncio.gather(*(client.publish(*large_request(order_id)) for order_id in backlog))
        for queue in ("order_service", "inventory_service"):
            await until(lambda q=queue: backlog_waits(client, q), f"most of the backlog waits in {queue}")
    grown = outage.memory() - before
    outage.database.children[0].signal(signal.SIGCONT)
    assert grown < BACKLOG * LARGE * 3 / 4, (
        f"{grown / 1e6:.0f} MB more for a backlog of {BACKLOG * LARGE / 1e6:.0f} MB"
    )

    async def all_failed() -> bool:
        failed = await outage.system.get(f"{outage.system.at.order}/orders?status=failed&limit=1000")
        return set(backlog) <= {order["orderId"] for order in failed.get("orders", ())}

    await until(all_failed, "the backlog has been worked off", limit=120)
    await outage.check_recovered(order_ids, product)


def large_request(order_id: str) -> tuple[str, str, bytes]:
    """Return where to publish an order of an unknown product, and its body, which is mostly blanks."""
    body = {
        "type": "InventoryReservationRequested",
        "orderId": order_id,
        "userId": "u-1",
        "items": [{"productId": "unknown-product", "quantity": 1}],
        "totalAmount": "12.50",
    }
    return "order.events", "InventoryReservationRequested", json.dumps(body).ljust(LARGE).encode()


async def backlog_waits(client: Client, queue: str) -> bool:
    """A queue holds the backlog, but for what its reader may have taken."""
    return await client.depth(queue) >= BACKLOG - int(IMPATIENT["ORDER_PREFETCH"])


async def test_when_the_brokers_disk_is_wiped_a_nudge_ends_every_order(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.in_progress(product, MANY)
    lost = await outage.lose_requests(product, MORE)
    nudged = await outage.nudge()
    assert nudged >= set(lost), "requests that the broker has lost are published again"
    await outage.check_recovered(order_ids + lost, product, tap_is_complete=False)


async def test_when_the_brokers_disk_is_wiped_every_order_still_ends(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    async with outage.scenario.with_failpoint("order_service", ORDER_NUDGE_AFTER="2"):
        order_ids = await outage.in_progress(product, MANY)
        lost = await outage.lose_requests(product, MORE)
        await outage.check_recovered(order_ids + lost, product, tap_is_complete=False)

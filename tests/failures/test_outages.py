"""Broker, database and network fail with orders under way, and come back.

Each time orders are in flight when it happens, and more are placed meanwhile. Afterwards nothing is lost and
nothing doubled, every service reads its queues again, and the books of stock and money balance.
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
    order_ids = await outage.under_way(product, MANY)
    await asyncio.to_thread(outage.broker.stop)
    await outage.all_stopped_working()
    async with outage.placing(product, MORE) as more:
        pass
    await outage.broker_back()
    await outage.all_over(order_ids + more, product)


async def test_when_the_broker_is_killed_and_started(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.under_way(product, MANY)
    outage.broker.kill()
    async with outage.placing(product, MORE) as more:
        pass
    await outage.broker_back()
    await outage.all_over(order_ids + more, product)


async def test_when_the_database_is_stopped_and_started(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.under_way(product, MANY)
    await asyncio.to_thread(outage.database.stop)
    async with outage.placing(product, MORE) as more:
        await outage.all_stopped_working()
        await outage.database_back()
    await outage.all_over(order_ids + more, product)


async def test_when_broker_and_database_are_killed_and_started(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.under_way(product, MANY)
    outage.broker.kill()
    outage.database.kill()
    async with outage.placing(product, MORE) as more:
        await outage.database_back()
        await outage.broker_back()
    await outage.all_over(order_ids + more, product)


async def test_when_the_connections_are_cut_in_the_middle_of_publishing(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=3 * MORE)
    order_ids = await outage.under_way(product, MANY)
    for sent in (700, 3_000, 5_500):
        cuts = outage.network.cuts

        def cut(sent: int = sent, cuts: int = cuts) -> bool:
            outage.network.cut_after(sent)  # again: a service may have been about to connect anew
            return outage.network.cuts > cuts

        async with outage.placing(product, MORE) as more:
            await until(cut, "a connection was cut", limit=60)
        order_ids += more
    await outage.network.heal()
    await outage.all_over(order_ids, product)


async def test_when_the_network_is_slow_and_its_windows_are_small(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    outage.network.slow(latency=0.05, window=1024)
    order_ids = await outage.under_way(product, MANY)
    async with outage.placing(product, MORE) as more:
        pass
    await outage.scene.all_confirmed(order_ids + more, product)
    await outage.network.heal()
    await outage.all_over(order_ids + more, product)


async def test_when_the_network_falls_silent_for_a_while(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.under_way(product, MANY)
    outage.network.stall()
    async with outage.placing(product, MORE) as more:
        await outage.all_stopped_working()
    await outage.network.heal()
    await outage.all_over(order_ids + more, product)


async def test_when_the_broker_is_short_of_memory(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.under_way(product, MANY)
    await outage.set_memory_limit("1MB")
    try:
        more = [await outage.system.place_surely(product) for _ in range(MORE)]
        # The broker tells only those who publish.
        await outage.stopped_working("order_service", because="blocks publishers")
        for order_id in more:
            await outage.system.until_status(order_id, "pending")
    finally:
        await outage.set_memory_limit("1GB")
    await outage.all_over(order_ids + more, product)


async def test_when_the_database_falls_silent_for_a_while(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.under_way(product, MANY)
    outage.database.children[0].signal(signal.SIGSTOP)
    async with outage.placing(product, MORE) as more:
        await outage.all_stopped_working()
        outage.database.children[0].signal(signal.SIGCONT)
    await outage.all_over(order_ids + more, product)


async def test_when_the_database_falls_silent_with_a_backlog_memory_stays_flat(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY)
    order_ids = await outage.under_way(product, MANY)
    backlog = [f"backlog-{uuid4().hex}" for _ in range(BACKLOG)]
    await outage.scene.all_confirmed(order_ids, product)
    before = outage.memory()
    outage.database.children[0].signal(signal.SIGSTOP)
    async with outage.broker_client() as client:
        await asyncio.gather(*(client.publish(*large_request(order_id)) for order_id in backlog))
        for queue in ("order_service", "inventory_service"):
            await until(lambda q=queue: rests(client, q), f"most of the backlog rests in {queue}")
    grown = outage.memory() - before
    outage.database.children[0].signal(signal.SIGCONT)
    assert grown < BACKLOG * LARGE * 3 / 4, (
        f"{grown / 1e6:.0f} MB more for a backlog of {BACKLOG * LARGE / 1e6:.0f} MB"
    )

    async def all_failed() -> bool:
        failed = await outage.system.get(f"{outage.system.at.order}/orders?status=failed&limit=1000")
        return set(backlog) <= {order["orderId"] for order in failed.get("orders", ())}

    await until(all_failed, "the backlog has been worked off", limit=120)
    await outage.all_over(order_ids, product)


def large_request(order_id: str) -> tuple[str, str, bytes]:
    """Return where to publish an order of something that nobody sells, and its body: blanks, nearly all."""
    body = {
        "type": "InventoryReservationRequested",
        "orderId": order_id,
        "userId": "u-1",
        "items": [{"productId": "nobody-sells-this", "quantity": 1}],
        "totalAmount": "12.50",
    }
    return "order.events", "InventoryReservationRequested", json.dumps(body).ljust(LARGE).encode()


async def rests(client: Client, queue: str) -> bool:
    """A queue holds the backlog, but for what its reader may have taken."""
    return await client.depth(queue) >= BACKLOG - int(IMPATIENT["ORDER_PREFETCH"])


async def test_when_the_brokers_disk_is_wiped_a_nudge_brings_every_order_to_its_end(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    order_ids = await outage.under_way(product, MANY)
    lost = await outage.lose_requests(product, MORE)
    nudged = await outage.nudge()
    assert nudged >= set(lost), "requests that the broker has lost are asked again"
    await outage.all_over(order_ids + lost, product, told=False)


async def test_when_the_brokers_disk_is_wiped_every_order_comes_to_its_end_by_itself(outage: Outage) -> None:
    product = await outage.system.stock(north=MANY, south=MORE)
    async with outage.scene.rigged("order_service", ORDER_NUDGE_AFTER="2"):
        order_ids = await outage.under_way(product, MANY)
        lost = await outage.lose_requests(product, MORE)
        await outage.all_over(order_ids + lost, product, told=False)

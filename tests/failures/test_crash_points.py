"""A service's process dies at a chosen point, with orders under way, and is started again.

Whatever the point, every order ends as if nothing had happened: each event is told once in effect, the books
of stock and money balance, and nothing is put away as a dead letter.
"""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from local_stack.process import Child
from tests.failures.scenario import CONFIRMED, ROOT, FailureScenario
from tests.support.broker import until
from tests.support.failpoints import FAILPOINT
from tests.support.system import ended_all

MANY = 20


async def died(child: Child, point: str) -> None:
    """Wait until a process has killed itself at a point."""
    await until(lambda: not child.alive, f"{child.name} is dead", limit=60)
    assert child.exit_code == -signal.SIGKILL, child.describe_end()
    assert f'"point": "{point}"' in child.log_tail(1), child.describe_end()


async def survived(
    scene: FailureScenario, service: str, point: str, nth: int = 1, limit: float = 120
) -> None:
    """Have a service die at a point while orders are placed; all of them are confirmed, told once each."""
    product = await scene.system.stock(north=MANY, south=MANY)
    async with (
        asyncio.TaskGroup() as customers,
        scene.rigged(service, **{FAILPOINT: f"{point}:{nth}"}) as doomed,
    ):
        placed = [customers.create_task(scene.system.place_surely(product)) for _ in range(MANY)]
        await died(doomed, point)
    order_ids = [task.result() for task in placed]
    await scene.all_confirmed(order_ids, product, limit)
    await scene.told_once(order_ids)


@pytest.mark.parametrize("service", ["order_service", "inventory_service"])
async def test_when_the_process_dies_after_saving_before_publishing(
    scene: FailureScenario, service: str
) -> None:
    await survived(scene, service, "saved")


@pytest.mark.parametrize("service", ["order_service", "inventory_service"])
async def test_when_the_process_dies_after_publishing_before_acknowledging(
    scene: FailureScenario, service: str
) -> None:
    await survived(scene, service, "published", nth=2)


async def test_when_the_process_dies_with_a_payment_made_and_its_request_not_acknowledged(
    scene: FailureScenario,
) -> None:
    await survived(scene, "payment_service", "acking", nth=3)


async def test_when_the_process_dies_while_charging_before_the_provider_has_decided(
    scene: FailureScenario,
) -> None:
    await survived(scene, "payment_service", "charging", nth=5)


async def test_when_the_process_dies_while_charging_after_the_provider_has_decided(
    scene: FailureScenario,
) -> None:
    await survived(scene, "payment_service", "charged", nth=5)


async def test_when_the_process_dies_while_payments_are_pending(scene: FailureScenario) -> None:
    # Who is to hear the provider's notice dies, too: every second order is never given notice of.
    product = await scene.system.stock(north=MANY)
    methods = ["sim:pending:8", "sim:pending:8:no-notification"] * (MANY // 2)
    order_ids = [await scene.system.place_surely(product, paymentMethod=method) for method in methods]

    async def all_pending() -> bool:
        return all([(await scene.system.payment(order_id)).get("actions") for order_id in order_ids])

    await until(all_pending, "every customer can pay", limit=60)
    scene.system.stack.service("payment_service").kill()
    await scene.back("payment_service")
    await scene.all_confirmed(order_ids, product)
    await scene.told_once(order_ids)


async def test_when_the_process_dies_in_the_inventory_transaction(scene: FailureScenario) -> None:
    # The database would end the transaction by itself after 60 s; the service's next process does at once.
    await survived(scene, "inventory_service", "committing", nth=2, limit=45)


@pytest.mark.parametrize("service", ["order_service", "payment_service"])
async def test_when_the_process_dies_while_the_relay_publishes_before_it_has_sent(
    scene: FailureScenario, service: str
) -> None:
    await survived(scene, service, "relaying")


@pytest.mark.parametrize("service", ["order_service", "payment_service"])
async def test_when_the_process_dies_while_the_relay_publishes_before_it_has_forgotten(
    scene: FailureScenario, service: str
) -> None:
    await survived(scene, service, "relayed")


@pytest.mark.parametrize("service", ["order_service", "inventory_service"])
async def test_when_the_process_is_killed_during_a_drain_with_a_batch_in_hand(
    scene: FailureScenario, service: str
) -> None:
    await survived(scene, service, "draining")


async def test_when_the_process_is_killed_during_a_drain_while_charging(scene: FailureScenario) -> None:
    product = await scene.system.stock(north=MANY)
    async with asyncio.TaskGroup() as customers:
        slow = [
            customers.create_task(scene.system.place_surely(product, paymentMethod="sim:delay:3"))
            for _ in range(MANY)
        ]
    order_ids = [task.result() for task in slow]
    await scene.under_way(order_ids)
    payment = scene.system.stack.service("payment_service")
    payment.signal(signal.SIGTERM)
    await until(lambda: '"draining"' in payment.log_tail(), "payment_service drains")
    payment.kill()
    assert payment.exit_code == -signal.SIGKILL, payment.describe_end()
    await scene.back("payment_service")
    await scene.all_confirmed(order_ids, product)
    await scene.told_once(order_ids)


async def test_when_the_process_dies_while_the_relay_publishes_an_expiry(scene: FailureScenario) -> None:
    product = await scene.system.stock(north=MANY)
    scene.system.stack.service("payment_service").kill()
    async with scene.rigged("inventory_service", **{FAILPOINT: "relaying"}) as doomed:
        async with asyncio.TaskGroup() as customers:
            placed = [
                customers.create_task(scene.system.place_surely(product, expiresIn=1)) for _ in range(MANY)
            ]
        await died(doomed, "relaying")
    order_ids = [task.result() for task in placed]
    for order_id in order_ids:
        await scene.system.until_status(order_id, "compensating", limit=60)
    await scene.back("payment_service")
    orders = await ended_all(scene.system, order_ids)
    assert {(order["status"], order["reason"]) for order in orders} == {("failed", "reservation_expired")}
    assert await scene.system.levels(product) == {"north": (MANY, 0, 0)}
    await scene.books_balance(order_ids, product)
    refunded = ["InventoryReservationExpired", "PaymentRefundRequested", "PaymentRefunded", "OrderFailed"]
    await scene.told_once(order_ids, [*CONFIRMED[:4], *refunded])


@pytest.mark.parametrize("failpoint", ["nowhere", "saved:often", "saved:0"])
def test_a_failpoint_that_does_not_exist_ends_the_process_before_it_begins(failpoint: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.failpoints", "order_service"],
        env={**os.environ, FAILPOINT: failpoint},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert FAILPOINT in ended.stderr
    assert f"'{failpoint}'" in ended.stderr

"""A service's process dies at a chosen point, with orders in progress, and is started again.

At every point, every order ends as if nothing had happened: each event is published once in effect, the books
of stock and money balance, and there are no dead letters.
"""

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

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


async def check_survived(
    scenario: FailureScenario, service: str, point: str, nth: int = 1, limit: float = 120, **fields: Any
) -> None:
    """Let a service die at a point while orders are placed; check that all are confirmed, once each.

    `fields` are further fields of the orders.
    """
    product = await scenario.system.stock(north=MANY, south=MANY)
    async with (
        asyncio.TaskGroup() as customers,
        scenario.with_failpoint(service, **{FAILPOINT: f"{point}:{nth}"}) as doomed,
    ):
        placed = [
            customers.create_task(scenario.system.place_with_retries(product, **fields)) for _ in range(MANY)
        ]
        await died(doomed, point)
    order_ids = [task.result() for task in placed]
    await scenario.check_all_confirmed(order_ids, product, limit)
    await scenario.published_once(order_ids)


@pytest.mark.parametrize("service", ["order_service", "payment_service"])
async def test_when_the_process_dies_announced_but_not_saved(scenario: FailureScenario, service: str) -> None:
    await check_survived(scenario, service, "announced", nth=2)


@pytest.mark.parametrize("service", ["order_service", "inventory_service"])
async def test_when_the_process_dies_saved_but_not_published(scenario: FailureScenario, service: str) -> None:
    await check_survived(scenario, service, "saved")


@pytest.mark.parametrize("service", ["order_service", "inventory_service"])
async def test_when_the_process_dies_published_but_not_acknowledged(
    scenario: FailureScenario, service: str
) -> None:
    await check_survived(scenario, service, "published", nth=2)


async def test_when_the_process_dies_paid_but_not_acknowledged(
    scenario: FailureScenario,
) -> None:
    await check_survived(scenario, "payment_service", "acking", nth=3)


async def test_when_the_process_dies_before_the_provider_has_charged(
    scenario: FailureScenario,
) -> None:
    await check_survived(scenario, "payment_service", "charging", nth=5)


async def test_when_the_process_dies_after_the_provider_has_charged(
    scenario: FailureScenario,
) -> None:
    await check_survived(scenario, "payment_service", "charged", nth=5)


async def test_when_the_process_dies_while_payments_are_pending(scenario: FailureScenario) -> None:
    # The provider's notifications go to the process that dies; for every second order there are none at all.
    product = await scenario.system.stock(north=MANY)
    methods = ["sim:pending:8", "sim:pending:8:no-notification"] * (MANY // 2)
    order_ids = [
        await scenario.system.place_with_retries(product, paymentMethod=method) for method in methods
    ]

    async def all_pending() -> bool:
        return all([(await scenario.system.payment(order_id)).get("actions") for order_id in order_ids])

    await until(all_pending, "every customer can pay", limit=60)
    scenario.system.stack.service("payment_service").kill()
    await scenario.bring_back("payment_service")
    await scenario.check_all_confirmed(order_ids, product)
    await scenario.published_once(order_ids)


async def test_when_the_process_dies_in_the_inventory_transaction(scenario: FailureScenario) -> None:
    # The database would end the transaction after 60 s; the next process of the service ends it at once.
    await check_survived(scenario, "inventory_service", "committing", nth=2, limit=45)


RELAYED: dict[str, dict[str, Any]] = {
    "order_service": {},
    "payment_service": {"paymentMethod": "sim:pending:1"},
}
"""Fields of orders of which a service has something to relay: the order, or an answer that comes late."""


@pytest.mark.parametrize("service", RELAYED)
async def test_when_the_process_dies_before_relaying(scenario: FailureScenario, service: str) -> None:
    await check_survived(scenario, service, "relaying", **RELAYED[service])


@pytest.mark.parametrize("service", RELAYED)
async def test_when_the_process_dies_after_relaying(scenario: FailureScenario, service: str) -> None:
    await check_survived(scenario, service, "relayed", **RELAYED[service])


@pytest.mark.parametrize("service", ["order_service", "inventory_service"])
async def test_when_a_draining_process_is_killed_with_a_batch_in_hand(
    scenario: FailureScenario, service: str
) -> None:
    await check_survived(scenario, service, "draining")


async def test_when_a_draining_process_is_killed_while_charging(scenario: FailureScenario) -> None:
    product = await scenario.system.stock(north=MANY)
    async with asyncio.TaskGroup() as customers:
        slow = [
            customers.create_task(scenario.system.place_with_retries(product, paymentMethod="sim:delay:3"))
            for _ in range(MANY)
        ]
    order_ids = [task.result() for task in slow]
    await scenario.in_progress(order_ids)
    payment = scenario.system.stack.service("payment_service")
    payment.signal(signal.SIGTERM)
    await until(lambda: '"draining"' in payment.log_tail(), "payment_service drains")
    payment.kill()
    assert payment.exit_code == -signal.SIGKILL, payment.describe_end()
    await scenario.bring_back("payment_service")
    await scenario.check_all_confirmed(order_ids, product)
    await scenario.published_once(order_ids)


async def test_when_the_process_dies_before_relaying_an_expiry(scenario: FailureScenario) -> None:
    product = await scenario.system.stock(north=MANY)
    scenario.system.stack.service("payment_service").kill()
    async with scenario.with_failpoint("inventory_service", **{FAILPOINT: "relaying"}) as doomed:
        async with asyncio.TaskGroup() as customers:
            placed = [
                customers.create_task(scenario.system.place_with_retries(product, expiresIn=1))
                for _ in range(MANY)
            ]
        await died(doomed, "relaying")
    order_ids = [task.result() for task in placed]
    for order_id in order_ids:
        await scenario.system.until_status(order_id, "compensating", limit=60)
    await scenario.bring_back("payment_service")
    orders = await ended_all(scenario.system, order_ids)
    assert {(order["status"], order["reason"]) for order in orders} == {("failed", "reservation_expired")}
    assert await scenario.system.levels(product) == {"north": (MANY, 0, 0)}
    await scenario.check_books(order_ids, product)
    refunded = ["InventoryReservationExpired", "PaymentRefundRequested", "PaymentRefunded", "OrderFailed"]
    await scenario.published_once(order_ids, [*CONFIRMED[:4], *refunded])


@pytest.mark.parametrize("failpoint", ["nowhere", "saved:often", "saved:0"])
def test_an_unknown_failpoint_is_rejected_at_start(failpoint: str) -> None:
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

"""Holds expire and orders miss their deadline while a part of the system is down; the system converges."""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import pytest

from order_service.order import GRACE
from saga.clock import utc_now
from tests.failures.scenario import CONFIRMED, FailureScenario
from tests.failures.test_crash_points import died
from tests.support.broker import until
from tests.support.failpoints import CLOCK_AHEAD, FAILPOINT
from tests.support.system import ended_all

MANY = 20
MUCH_LATER = "1000"
"""Seconds, more than a hold and the grace of an order take together."""
PAID = CONFIRMED[:4]
"""The events of an order up to its payment."""
REFUNDED = ("PaymentRefundRequested", "PaymentRefunded", "OrderFailed")


@pytest.mark.parametrize("left", [1, 0])
async def test_when_a_paid_order_is_confirmed_after_its_hold_expired(
    scenario: FailureScenario, left: int
) -> None:
    """The order service dies after requesting the payment; the payment succeeds, then the hold expires."""
    product = await scenario.system.stock(north=1)
    async with scenario.with_failpoint("order_service", **{FAILPOINT: "published"}) as order_service:
        order_id = await scenario.system.place_with_retries(product, expiresIn=1)
        await died(order_service, "published")
        # Expired only after the payment was made, however slow that is.
        scenario.system.stack.service("inventory_service").kill()

        async def is_charged() -> bool:
            return (await scenario.system.payment(order_id)).get("status") == "charged"

        async def is_expired() -> bool:
            reservation = await scenario.system.get(f"{scenario.system.at.inventory}/reservations/{order_id}")
            return reservation.get("status") == "expired"

        await until(is_charged, "the payment is made", limit=60)
        await scenario.bring_back("inventory_service")
        await until(is_expired, "the hold has expired", limit=60)
        await scenario.system.put(
            f"{scenario.system.at.inventory}/stock/north/{product}", {"available": left}
        )
    order = await scenario.system.ended(order_id)
    payment = await scenario.system.payment(order_id)
    if left:
        assert (order["status"], payment["status"]) == ("confirmed", "charged")
        assert await scenario.system.levels(product) == {"north": (0, 0, 1)}
        await scenario.published_once([order_id], [*CONFIRMED, "InventoryReservationExpired"])
    else:
        assert (order["status"], order["reason"]) == ("failed", "reservation_expired")
        assert payment["status"] == "refunded"
        assert await scenario.system.levels(product) == {"north": (0, 0, 0)}
        refused = [
            "InventoryReservationExpired",
            "InventoryConfirmationRequested",
            "InventoryConfirmationFailed",
        ]
        await scenario.published_once([order_id], [*PAID, *refused, *REFUNDED])
    await scenario.check_books([order_id], product)


async def test_when_expiry_and_confirmation_race(scenario: FailureScenario) -> None:
    product = await scenario.system.stock(north=MANY)
    delays = [0.5 + 1.3 * number / MANY for number in range(MANY)]
    order_ids = list(
        await asyncio.gather(
            *(
                scenario.system.place_with_retries(product, expiresIn=1, paymentMethod=f"sim:delay:{delay}")
                for delay in delays
            )
        )
    )
    orders = await ended_all(scenario.system, order_ids)
    ends = [(order["status"], order["reason"]) for order in orders]
    assert set(ends) <= {("confirmed", None), ("failed", "reservation_expired")}
    sold = ends.count(("confirmed", None))
    assert await scenario.system.levels(product) == {"north": (MANY - sold, 0, sold)}
    await scenario.check_ended_once(order_ids)
    await scenario.check_books(order_ids, product)


async def test_when_holds_expire_while_down_replicas_expire_each_once(
    scenario: FailureScenario,
) -> None:
    product = await scenario.system.stock(north=2 * MANY)
    scenario.system.stack.service("payment_service").kill()
    async with AsyncExitStack() as replicas:
        async with scenario.with_failpoint("inventory_service", **{FAILPOINT: "published"}) as inventory:
            order_ids = await placed(scenario, product, expiresIn=1)
            await died(inventory, "published")
            order = await scenario.system.until_status(order_ids[0], "reserved", "pending")
            last = datetime.fromisoformat(order["deadline"]) - GRACE
            await until(lambda: utc_now() > last, "the holds have run out")
            replica = await replicas.enter_async_context(scenario.replica("inventory_service"))
        await until(lambda: '"reading_started"' in replica.log_tail(), "the second replica works", limit=60)
        order_ids += await placed(scenario, product, expiresIn=1)
        for order_id in order_ids:
            await scenario.system.until_status(order_id, "compensating", limit=60)
        assert await scenario.system.levels(product) == {"north": (2 * MANY, 0, 0)}
        await scenario.bring_back("payment_service")
        orders = await ended_all(scenario.system, order_ids)
    assert {(order["status"], order["reason"]) for order in orders} == {("failed", "reservation_expired")}
    await scenario.published_once(order_ids, [*PAID, "InventoryReservationExpired", *REFUNDED])
    await scenario.check_books(order_ids, product)


async def test_when_inventory_is_down_until_the_deadline_of_an_order(scenario: FailureScenario) -> None:
    product = await scenario.system.stock(north=MANY)
    scenario.system.stack.service("inventory_service").kill()
    order_ids = await placed(scenario, product)
    async with scenario.with_failpoint("order_service", **{CLOCK_AHEAD: MUCH_LATER}):
        for order_id in order_ids:
            order = await scenario.system.until_status(order_id, "compensating")
            assert order["awaiting"] == ["release"]
        await scenario.bring_back("inventory_service")
        orders = await ended_all(scenario.system, order_ids)
    assert {(order["status"], order["reason"]) for order in orders} == {("failed", "deadline_exceeded")}
    assert await scenario.system.levels(product) == {"north": (MANY, 0, 0)}
    await scenario.check_books(order_ids, product)


async def test_when_payment_is_down_until_the_deadline_of_an_order(scenario: FailureScenario) -> None:
    product = await scenario.system.stock(north=MANY)
    scenario.system.stack.service("payment_service").kill()
    order_ids = await placed(scenario, product)
    await scenario.in_progress(order_ids)
    async with scenario.with_failpoint("order_service", **{CLOCK_AHEAD: MUCH_LATER}):
        for order_id in order_ids:
            await scenario.system.until_status(order_id, "compensating")
        # The stock is released at once, whether or not the payment succeeds.
        await until(lambda: all_free(scenario, product), "the stock is free again")
        await scenario.bring_back("payment_service")
        orders = await ended_all(scenario.system, order_ids)
    assert {(order["status"], order["reason"]) for order in orders} == {("failed", "deadline_exceeded")}
    for order_id in order_ids:
        assert (await scenario.system.payment(order_id))["status"] == "refunded"
    await scenario.check_ended_once(order_ids)
    await scenario.check_books(order_ids, product)


async def placed(scenario: FailureScenario, product: str, **fields: Any) -> list[str]:
    """Place orders at once; return their ids."""
    orders = (scenario.system.place_with_retries(product, **fields) for _ in range(MANY))
    return list(await asyncio.gather(*orders))


async def all_free(scenario: FailureScenario, product: str) -> bool:
    """Nothing of a product is held or sold."""
    return await scenario.system.levels(product) == {"north": (MANY, 0, 0)}

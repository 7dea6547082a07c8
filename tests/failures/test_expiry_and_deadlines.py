"""Holds run out and orders miss their deadline while a part of the system is away; all of it converges."""

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
async def test_when_the_confirmation_of_a_paid_order_comes_after_its_hold_has_expired(
    scene: FailureScenario, left: int
) -> None:
    """The order service dies having asked for the payment; the payment is made, then the hold expires."""
    product = await scene.system.stock(north=1)
    async with scene.rigged("order_service", **{FAILPOINT: "published"}) as order_service:
        order_id = await scene.system.place_surely(product, expiresIn=1)
        await died(order_service, "published")
        # Expired only after the payment was made, however slow that is.
        scene.system.stack.service("inventory_service").kill()

        async def is_charged() -> bool:
            return (await scene.system.payment(order_id)).get("status") == "charged"

        async def is_expired() -> bool:
            reservation = await scene.system.get(f"{scene.system.at.inventory}/reservations/{order_id}")
            return reservation.get("status") == "expired"

        await until(is_charged, "the payment is made", limit=60)
        await scene.back("inventory_service")
        await until(is_expired, "the hold has expired", limit=60)
        await scene.system.put(f"{scene.system.at.inventory}/stock/north/{product}", {"available": left})
    order = await scene.system.ended(order_id)
    payment = await scene.system.payment(order_id)
    if left:
        assert (order["status"], payment["status"]) == ("confirmed", "charged")
        assert await scene.system.levels(product) == {"north": (0, 0, 1)}
        await scene.told_once([order_id], [*CONFIRMED, "InventoryReservationExpired"])
    else:
        assert (order["status"], order["reason"]) == ("failed", "reservation_expired")
        assert payment["status"] == "refunded"
        assert await scene.system.levels(product) == {"north": (0, 0, 0)}
        refused = [
            "InventoryReservationExpired",
            "InventoryConfirmationRequested",
            "InventoryConfirmationFailed",
        ]
        await scene.told_once([order_id], [*PAID, *refused, *REFUNDED])
    await scene.books_balance([order_id], product)


async def test_when_expiry_and_confirmation_race(scene: FailureScenario) -> None:
    product = await scene.system.stock(north=MANY)
    delays = [0.5 + 1.3 * number / MANY for number in range(MANY)]
    order_ids = list(
        await asyncio.gather(
            *(
                scene.system.place_surely(product, expiresIn=1, paymentMethod=f"sim:delay:{delay}")
                for delay in delays
            )
        )
    )
    orders = await ended_all(scene.system, order_ids)
    ends = [(order["status"], order["reason"]) for order in orders]
    assert set(ends) <= {("confirmed", None), ("failed", "reservation_expired")}
    sold = ends.count(("confirmed", None))
    assert await scene.system.levels(product) == {"north": (MANY - sold, 0, sold)}
    await scene.ended_once(order_ids)
    await scene.books_balance(order_ids, product)


async def test_when_holds_run_out_while_inventory_is_down_two_replicas_expire_each_once(
    scene: FailureScenario,
) -> None:
    product = await scene.system.stock(north=2 * MANY)
    scene.system.stack.service("payment_service").kill()
    async with AsyncExitStack() as replicas:
        async with scene.rigged("inventory_service", **{FAILPOINT: "published"}) as inventory:
            order_ids = await placed(scene, product, expiresIn=1)
            await died(inventory, "published")
            order = await scene.system.until_status(order_ids[0], "reserved", "pending")
            last = datetime.fromisoformat(order["deadline"]) - GRACE
            await until(lambda: utc_now() > last, "the holds have run out")
            replica = await replicas.enter_async_context(scene.second("inventory_service"))
        await until(lambda: '"reading"' in replica.log_tail(), "the second replica works", limit=60)
        order_ids += await placed(scene, product, expiresIn=1)
        for order_id in order_ids:
            await scene.system.until_status(order_id, "compensating", limit=60)
        assert await scene.system.levels(product) == {"north": (2 * MANY, 0, 0)}
        await scene.back("payment_service")
        orders = await ended_all(scene.system, order_ids)
    assert {(order["status"], order["reason"]) for order in orders} == {("failed", "reservation_expired")}
    await scene.told_once(order_ids, [*PAID, "InventoryReservationExpired", *REFUNDED])
    await scene.books_balance(order_ids, product)


async def test_when_an_order_misses_its_deadline_because_inventory_is_absent(scene: FailureScenario) -> None:
    product = await scene.system.stock(north=MANY)
    scene.system.stack.service("inventory_service").kill()
    order_ids = await placed(scene, product)
    async with scene.rigged("order_service", **{CLOCK_AHEAD: MUCH_LATER}):
        for order_id in order_ids:
            order = await scene.system.until_status(order_id, "compensating")
            assert order["awaiting"] == ["release"]
        await scene.back("inventory_service")
        orders = await ended_all(scene.system, order_ids)
    assert {(order["status"], order["reason"]) for order in orders} == {("failed", "deadline_exceeded")}
    assert await scene.system.levels(product) == {"north": (MANY, 0, 0)}
    await scene.books_balance(order_ids, product)


async def test_when_an_order_misses_its_deadline_because_payment_is_absent(scene: FailureScenario) -> None:
    product = await scene.system.stock(north=MANY)
    scene.system.stack.service("payment_service").kill()
    order_ids = await placed(scene, product)
    await scene.under_way(order_ids)
    async with scene.rigged("order_service", **{CLOCK_AHEAD: MUCH_LATER}):
        for order_id in order_ids:
            await scene.system.until_status(order_id, "compensating")
        # The stock is given back at once, whatever becomes of the payment.
        await until(lambda: all_free(scene, product), "the stock is free again")
        await scene.back("payment_service")
        orders = await ended_all(scene.system, order_ids)
    assert {(order["status"], order["reason"]) for order in orders} == {("failed", "deadline_exceeded")}
    for order_id in order_ids:
        assert (await scene.system.payment(order_id))["status"] == "refunded"
    await scene.ended_once(order_ids)
    await scene.books_balance(order_ids, product)


async def placed(scene: FailureScenario, product: str, **fields: Any) -> list[str]:
    """Place orders at once; return their ids."""
    orders = (scene.system.place_surely(product, **fields) for _ in range(MANY))
    return list(await asyncio.gather(*orders))


async def all_free(scene: FailureScenario, product: str) -> bool:
    """Nothing of a product is held or sold."""
    return await scene.system.levels(product) == {"north": (MANY, 0, 0)}

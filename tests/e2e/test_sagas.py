"""Every way a saga can go, from outside: placed over HTTP or published by hand, on real parts."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from tests.support.broker import until
from tests.support.system import System


async def test_an_order_is_confirmed(system: System) -> None:
    product = await system.stock(north=10)
    order = await system.ended(await system.place(product, 3))
    assert order["status"] == "confirmed"
    assert await system.levels(product) == {"north": (7, 0, 3)}
    assert (await system.payment(order["orderId"]))["status"] == "charged"


async def test_an_order_is_confirmed_from_two_warehouses(system: System) -> None:
    product = await system.stock(north=2, south=2)
    order = await system.ended(await system.place(product, 3))
    assert order["status"] == "confirmed"
    levels = await system.levels(product)
    assert sum(allocated for _, _, allocated in levels.values()) == 3
    assert all(sum(level) == 2 for level in levels.values())


async def test_the_nearest_warehouse_is_drawn_on(system: System) -> None:
    product = await system.stock(north=5, south=9)
    place = {"latitude": 59.0, "longitude": 10.0}
    assert (await system.ended(await system.place(product, 2, userLocation=place)))["status"] == "confirmed"
    assert await system.levels(product) == {"north": (3, 0, 2), "south": (9, 0, 0)}


async def test_an_order_fails_for_lack_of_stock(system: System) -> None:
    product = await system.stock(north=1)
    order = await system.ended(await system.place(product, 2))
    assert (order["status"], order["reason"]) == ("failed", "insufficient_stock")
    assert await system.levels(product) == {"north": (1, 0, 0)}


async def test_an_order_for_an_unknown_product_fails(system: System) -> None:
    order = await system.ended(await system.place("nobody-sells-this"))
    assert (order["status"], order["reason"]) == ("failed", "unknown_product")


async def test_a_declined_payment_gives_the_stock_back(system: System) -> None:
    product = await system.stock(north=5)
    order = await system.ended(await system.place(product, 2, paymentMethod="sim:decline"))
    assert (order["status"], order["reason"]) == ("failed", "declined")
    assert await system.levels(product) == {"north": (5, 0, 0)}
    assert (await system.payment(order["orderId"]))["status"] == "declined"


async def test_an_order_cancelled_in_flight_is_released_and_refunded(system: System) -> None:
    product = await system.stock(north=5)
    order_id = await system.place(product, 2, paymentMethod="sim:delay:1.5")
    await system.until_status(order_id, "reserved")
    assert (await system.post(f"{system.at.order}/orders/{order_id}/cancel")).status_code == 202
    assert (await system.ended(order_id))["status"] == "cancelled"
    assert await system.levels(product) == {"north": (5, 0, 0)}
    payment = await system.payment(order_id)
    assert (payment["status"], payment["refundedAmount"]) == ("refunded", "12.50")


async def test_a_payment_after_the_hold_expired_is_refunded(system: System) -> None:
    product = await system.stock(north=5)
    order_id = await system.place(product, 2, expiresIn=1, paymentMethod="sim:delay:3")
    order = await system.ended(order_id)
    assert (order["status"], order["reason"]) == ("failed", "reservation_expired")
    assert await system.levels(product) == {"north": (5, 0, 0)}
    assert (await system.payment(order_id))["status"] == "refunded"


async def test_a_refund_that_the_provider_refuses_rests_until_a_person_settles_it(system: System) -> None:
    product = await system.stock(north=5)
    order_id = await system.place(product, 1, expiresIn=1, paymentMethod="sim:delay:2:refuse-refund:6")
    order = await system.until_status(order_id, "refundPending")
    assert (order["awaiting"], order["refundFailure"]) == (["refund"], "refused")
    # Each is an attempt, made at once; by themselves they would become rare.
    while (await system.payment(order_id))["status"] != "refunded":
        assert (await system.post(f"{system.at.payment}/payments/{order_id}/refund")).status_code == 202
    assert (await system.ended(order_id))["status"] == "failed"
    assert (await system.payment(order_id))["status"] == "refunded"


async def test_a_provider_without_an_answer_is_asked_again(system: System) -> None:
    product = await system.stock(north=5)
    order = await system.ended(await system.place(product, 1, paymentMethod="sim:timeout:1"))
    assert order["status"] == "confirmed"


async def test_an_order_that_takes_hours_to_pay_is_held_for_as_long(system: System) -> None:
    product = await system.stock(north=5)
    order_id = await system.place(product, 2, expiresIn=48 * 3600, paymentMethod="sim:pending:2")
    placed = await system.until_status(order_id, "reserved")
    hold = await system.get(f"{system.at.inventory}/reservations/{order_id}")
    held_until = datetime.fromisoformat(hold["expiresAt"])
    assert datetime.fromisoformat(placed["deadline"]) == held_until + timedelta(minutes=5)
    assert held_until - datetime.fromisoformat(placed["createdAt"]) > timedelta(hours=47)
    payment = await until_pending(system, order_id)
    assert payment["expiresAt"] == hold["expiresAt"]
    assert [action["kind"] for action in payment["actions"]] == ["redirect"]
    assert (await system.ended(order_id))["status"] == "confirmed"
    assert await system.levels(product) == {"north": (3, 0, 2)}


async def test_an_order_that_is_not_paid_in_time_fails_and_cannot_be_paid_any_more(system: System) -> None:
    product = await system.stock(north=5)
    order_id = await system.place(product, 2, expiresIn=3, paymentMethod="sim:pending:3600")
    order = await system.ended(order_id)
    assert (order["status"], order["reason"]) == ("failed", "reservation_expired")
    payment = await system.payment(order_id)
    assert (payment["status"], payment["reason"], payment["actions"]) == ("declined", "cancelled", [])
    assert await system.levels(product) == {"north": (5, 0, 0)}


async def test_an_order_that_is_cancelled_cannot_be_paid_any_more(system: System) -> None:
    product = await system.stock(north=5)
    order_id = await system.place(product, 2, expiresIn=48 * 3600, paymentMethod="sim:pending:172000")
    await until_pending(system, order_id)
    assert (await system.post(f"{system.at.order}/orders/{order_id}/cancel")).status_code == 202
    assert (await system.ended(order_id))["status"] == "cancelled"
    payment = await system.payment(order_id)
    assert (payment["status"], payment["reason"]) == ("declined", "cancelled")


async def until_pending(system: System, order_id: str) -> dict[str, Any]:
    """Wait until the customer can pay; return the payment."""

    async def is_pending() -> bool:
        return bool((await system.payment(order_id)).get("pending"))

    await until(is_pending, "the customer can pay", limit=60)
    return await system.payment(order_id)


async def test_a_message_published_by_hand_starts_a_saga_and_twice_is_once(system: System) -> None:
    product = await system.stock(north=5)
    order_id = f"o-{uuid4().hex[:8]}"
    payload = {
        "type": "InventoryReservationRequested",
        "orderId": order_id,
        "userId": "u-1",
        "items": [{"productId": product, "quantity": 2}],
        "totalAmount": "25.00",
    }
    await system.publish_manually(json.dumps(payload))
    await system.publish_manually(json.dumps({**payload, "totalAmount": 25.0}))
    assert (await system.ended(order_id))["status"] == "confirmed"
    await system.publish_manually(json.dumps(payload))
    following = await system.ended(await system.place(product, 1))
    assert following["status"] == "confirmed"
    assert await system.levels(product) == {"north": (2, 0, 3)}
    assert (await system.payment(order_id))["amount"] == "25.00"


async def test_a_bad_message_published_by_hand_stops_nobody(system: System) -> None:
    before = await system.dead_letters()
    await system.publish_manually('{"type":"InventoryReservationRequested","orderId":"o-1"}')
    product = await system.stock(north=1)
    assert (await system.ended(await system.place(product)))["status"] == "confirmed"
    after = await system.dead_letters()
    assert after["order_service"] == before.get("order_service", 0) + 1
    assert after["inventory_service"] == before.get("inventory_service", 0) + 1

"""Holds over HTTP, with and without a saga."""

import asyncio
from decimal import Decimal
from uuid import uuid4

import pytest

from events.catalogue import InventoryConfirmed, InventoryReservationFailed, InventoryReserved
from events.values import Item
from tests.integration.inventory_service.driver import InventoryDriver, body, confirmation, line, request
from tests.support.broker import until
from tests.support.services import check_problem


async def test_a_hold_without_a_price_starts_no_saga_and_is_made_once(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = uuid4().hex
    first = inventory.http.post("/reservations", json=body(tea, 2, orderId=order_id))
    assert first.status_code == 201
    assert first.headers["location"] == f"/reservations/{order_id}"
    held = first.json()
    assert (held["reservationId"], held["orderId"], held["status"]) == (order_id, order_id, "held")
    assert held["saga"] is False
    assert held["totalAmount"] is None
    assert held["lines"] == [
        {"reservationId": order_id, "productId": tea, "warehouseId": "berlin", "quantity": 2}
    ]
    again = inventory.http.post("/reservations", json=body(tea, 2, orderId=order_id))
    assert (again.status_code, again.json()) == (201, held)
    check_problem(inventory.http.post("/reservations", json=body(tea, 3, orderId=order_id)), 409)
    assert inventory.http.get(f"/reservations/{order_id}").json() == held
    assert inventory.level(tea) == (8, 2, 0)
    await inventory.nothing_came()


async def test_a_hold_made_over_http_is_confirmed_over_http(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = inventory.http.post("/reservations", json=body(tea, 2)).json()["orderId"]
    for _ in range(2):
        confirmed = inventory.http.post(f"/reservations/{order_id}/confirm")
        assert (confirmed.status_code, confirmed.json()["status"]) == (200, "allocated")
        assert inventory.level(tea) == (8, 0, 2)
    check_problem(inventory.http.post(f"/reservations/{order_id}/release"), 409)
    assert inventory.level(tea) == (8, 0, 2)
    await inventory.nothing_came()


async def test_a_hold_made_over_http_is_released_over_http(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = inventory.http.post("/reservations", json=body(tea, 2)).json()["orderId"]
    for _ in range(2):
        released = inventory.http.post(f"/reservations/{order_id}/release")
        assert (released.status_code, released.json()["status"]) == (200, "released")
        assert inventory.level(tea) == (10, 0, 0)
    check_problem(inventory.http.post(f"/reservations/{order_id}/confirm"), 409)
    assert inventory.level(tea) == (10, 0, 0)
    await inventory.nothing_came()


async def test_a_direct_hold_expires_without_an_event(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = inventory.http.post("/reservations", json=body(tea, 2, expiresIn=1)).json()["orderId"]
    await until(lambda: inventory.status(order_id) == "expired", "the hold runs out")
    assert inventory.level(tea) == (10, 0, 0)
    check_problem(inventory.http.post(f"/reservations/{order_id}/confirm"), 409)
    await inventory.nothing_came()


async def test_a_hold_made_over_http_with_a_price_starts_a_saga(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10, lisbon=10)
    asked = body(
        tea,
        2,
        totalAmount="12.50",
        currency="EUR",
        paymentMethod="sim:approve",
        userLocation={"latitude": 38.5, "longitude": -9.0},
    )
    order_id = inventory.http.post("/reservations", json=asked).json()["orderId"]
    held = await inventory.order.receive_a(InventoryReserved, order_id)
    assert held.correlation_id == order_id
    assert held.event_id
    assert (held.total_amount, held.currency, held.payment_method) == (
        Decimal("12.50"),
        "EUR",
        "sim:approve",
    )
    assert held.reservations == (line(order_id, tea, 2, "lisbon"),)
    again = inventory.http.post("/reservations", json={**asked, "orderId": order_id})
    assert again.status_code == 201
    await inventory.publish_event(confirmation(order_id))
    await inventory.order.receive_a(InventoryConfirmed, order_id)
    assert inventory.level(tea, "lisbon") == (8, 0, 2)


async def test_a_sagas_reservation_cannot_be_changed_over_http(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    by_event = await inventory.hold(tea, 2)
    by_price = inventory.http.post("/reservations", json=body(tea, 1, totalAmount=1)).json()["orderId"]
    await inventory.order.receive_a(InventoryReserved, by_price)
    joined = inventory.http.post("/reservations", json=body(tea, 1)).json()["orderId"]
    await inventory.hold(tea, 1, order_id=joined)
    for order_id in (by_event, by_price, joined):
        for change in ("confirm", "release"):
            check_problem(inventory.http.post(f"/reservations/{order_id}/{change}"), 409)
        assert inventory.status(order_id) == "held"
    assert inventory.level(tea) == (6, 4, 0)


async def test_the_same_idempotency_key_means_the_same_hold(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    key = {"Idempotency-Key": f"key-{uuid4().hex}"}
    first, again = (inventory.http.post("/reservations", json=body(tea, 2), headers=key) for _ in range(2))
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert again.headers["location"] == first.headers["location"]
    near = {"latitude": 38.5, "longitude": -9.0}
    for other in (body(tea, 3), body(tea, 2, userId="u-2"), body(tea, 2, userLocation=near)):
        check_problem(inventory.http.post("/reservations", json=other, headers=key), 409)
    assert inventory.level(tea) == (8, 2, 0)
    another = inventory.http.post(
        "/reservations", json=body(tea, 2), headers={"Idempotency-Key": uuid4().hex}
    )
    assert another.json()["orderId"] != first.json()["orderId"]
    assert inventory.level(tea) == (6, 4, 0)
    await inventory.nothing_came()


@pytest.mark.parametrize("price", [None, "12.50"])
async def test_the_same_hold_asked_for_many_times_at_once_is_made_once(
    inventory: InventoryDriver, price: str | None
) -> None:
    tea = inventory.put_stock(berlin=10)
    order_id = uuid4().hex
    asked = body(tea, 2, orderId=order_id, totalAmount=price)
    answers = await asyncio.gather(
        *(asyncio.to_thread(inventory.http.post, "/reservations", json=asked) for _ in range(8))
    )
    assert [answer.status_code for answer in answers] == [201] * 8
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert inventory.level(tea) == (8, 2, 0)
    if price:
        await inventory.order.receive_a(InventoryReserved, order_id)
    await inventory.nothing_came()


async def test_a_hold_that_a_saga_took_over_is_still_the_same_hold(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    asked = body(tea, 2, orderId=uuid4().hex)
    first = inventory.http.post("/reservations", json=asked).json()
    await inventory.hold(tea, 2, order_id=first["orderId"])
    again = inventory.http.post("/reservations", json=asked)
    assert (again.status_code, again.json()["lines"]) == (201, first["lines"])
    check_problem(inventory.http.post("/reservations", json={**asked, "totalAmount": "1.00"}), 409)
    assert inventory.level(tea) == (8, 2, 0)


async def test_a_reservation_rejected_for_a_saga_is_no_hold(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=1)
    asked = request(Item(product_id=tea, quantity=2))
    await inventory.publish_event(asked)
    await inventory.order.receive_a(InventoryReservationFailed, asked.order_id)
    again = body(tea, 2, orderId=asked.order_id, totalAmount="25.00")
    check_problem(inventory.http.post("/reservations", json=again), 409)
    assert inventory.level(tea) == (1, 0, 0)


async def test_a_hold_that_cannot_be_made_over_http_is_not_remembered(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=1)
    order_id = uuid4().hex
    refused = inventory.http.post("/reservations", json=body(tea, 2, orderId=order_id))
    check_problem(refused, 409)
    assert refused.json()["errors"] == [{"field": tea, "message": "2 requested, 1 available"}]
    check_problem(inventory.http.post("/reservations", json=body("unknown")), 409, None)
    check_problem(inventory.http.get(f"/reservations/{order_id}"), 404)
    assert inventory.http.post("/reservations", json=body(tea, 1, orderId=order_id)).status_code == 201
    await inventory.nothing_came()

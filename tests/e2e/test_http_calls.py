"""Reservations and payments made over HTTP take part in sagas like those requested by events."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.support.system import System, check_all_confirmed


def reservation(product: str, **fields: Any) -> dict[str, Any]:
    return {"userId": "u-1", "items": [{"productId": product, "quantity": 1}], **fields}


async def reserve(system: System, product: str, **fields: Any) -> str:
    """Make a reservation over HTTP, and repeat the request; return the order's id."""
    body = reservation(product, **fields)
    key = uuid4().hex
    url = f"{system.at.inventory}/reservations"
    answers = [await system.post(url, body, idempotency_key=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201], answers[0].text
    (order_id,) = {answer.json()["orderId"] for answer in answers}
    return str(order_id)


async def test_a_reservation_made_over_http_ends_as_a_confirmed_order(system_of_processes: System) -> None:
    product = await system_of_processes.stock(north=5)
    order_ids = [await reserve(system_of_processes, product, totalAmount="12.50") for _ in range(3)]
    for order_id in order_ids:
        await system_of_processes.until_status(order_id, "confirmed")
    await check_all_confirmed(system_of_processes, product, order_ids, 5)


async def test_a_declined_payment_releases_the_stock(system_of_processes: System) -> None:
    product = await system_of_processes.stock(north=1)
    order_id = await reserve(system_of_processes, product, totalAmount="12.50", paymentMethod="sim:decline")
    await system_of_processes.until_status(order_id, "failed")
    assert await system_of_processes.levels(product) == {"north": (1, 0, 0)}


async def test_only_the_order_service_can_cancel_it(system_of_processes: System) -> None:
    system = system_of_processes
    product = await system.stock(north=1)
    order_id = await reserve(system, product, totalAmount="12.50", paymentMethod="sim:delay:2")
    await system.until_status(order_id, "reserved")
    for change in ("confirm", "release"):
        refused = await system.post(f"{system.at.inventory}/reservations/{order_id}/{change}")
        assert refused.status_code == 409
    assert (await system.post(f"{system.at.order}/orders/{order_id}/cancel")).status_code == 202
    await system.until_status(order_id, "cancelled")
    assert await system.levels(product) == {"north": (1, 0, 0)}
    assert (await system.payment(order_id))["status"] in ("void", "declined", "refunded")
    kept, sold = await system.money()
    assert kept == sold


async def test_its_hold_expires(system_of_processes: System) -> None:
    product = await system_of_processes.stock(north=1)
    order_id = await reserve(
        system_of_processes, product, totalAmount="12.50", paymentMethod="sim:delay:2.5", expiresIn=1
    )
    await system_of_processes.until_status(order_id, "failed")
    assert await system_of_processes.levels(product) == {"north": (1, 0, 0)}
    kept, sold = await system_of_processes.money()
    assert kept == sold


async def test_a_saga_takes_over_a_hold_without_a_price(system_of_processes: System) -> None:
    system = system_of_processes
    product = await system.stock(north=1)
    order_id = await reserve(system, product)
    assert (await system.get(f"{system.at.order}/orders/{order_id}"))["status"] == 404
    request = {"type": "InventoryReservationRequested", "orderId": order_id, "totalAmount": "12.50"}
    await system.publish_manually(json.dumps({**reservation(product), **request}))
    await system.until_status(order_id, "confirmed")
    await check_all_confirmed(system, product, [order_id], 1)


@pytest.mark.parametrize("first", ["payment", "saga"])
async def test_a_payment_made_over_http_and_the_sagas_are_one(
    system_of_processes: System, first: str
) -> None:
    system = system_of_processes
    product = await system.stock(north=1)
    order_id = f"o-{uuid4().hex[:12]}"
    body = {"orderId": order_id, "userId": "u-1", "amount": "12.50", "idempotencyKey": f"order-{order_id}"}
    request = {"type": "InventoryReservationRequested", "orderId": order_id, "totalAmount": "12.50"}
    if first == "payment":
        made = await system.post(f"{system.at.payment}/payments", body)
        assert (made.status_code, made.json()["status"]) == (202, "charged")
    await system.publish_manually(json.dumps({**reservation(product), **request}))
    await system.until_status(order_id, "confirmed")
    again = await system.post(f"{system.at.payment}/payments", body)
    assert (again.status_code, again.json()["status"]) == (202, "charged")
    assert (await system.post(f"{system.at.payment}/payments/{order_id}/refund")).status_code == 409
    await check_all_confirmed(system, product, [order_id], 1)

"""Every way an order can go, with inventory and payment played by the test."""

from decimal import Decimal
from uuid import uuid4

from events.catalogue import (
    InventoryConfirmationFailed,
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationExpired,
    InventoryReservationFailed,
    InventoryReservationRequested,
    PaymentFailed,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentRequested,
)
from tests.integration.order_service.driver import (
    ITEMS,
    OtherServices,
    place,
    place_and_pay,
    place_and_reserve,
    until_it_is,
)
from tests.support.broker import Broker, until
from tests.support.services import ServiceProcess


async def test_an_order_is_confirmed(service: ServiceProcess, others: OtherServices) -> None:
    order_id = await place(service, others, paymentMethod="sim:approve")
    await others.reserve(order_id)
    asked = await others.payment.receive_a(PaymentRequested, order_id)
    assert (asked.amount, asked.currency, asked.user_id) == (Decimal("25.00"), "USD", "u-1")
    assert asked.idempotency_key == f"order-{order_id}"
    assert asked.payment_method == "sim:approve"
    await others.pay(order_id)
    await others.inventory.receive_a(InventoryConfirmationRequested, order_id)
    await others.publish_event(InventoryConfirmed(order_id=order_id))
    order = service.http.get(f"/orders/{order_id}", params={"wait": 10}).json()
    assert order["status"] == "confirmed"
    assert order["totalAmount"] == "25.00"
    assert order["awaiting"] == []


async def test_an_order_without_stock_fails(service: ServiceProcess, others: OtherServices) -> None:
    order_id = await place(service, others)
    await others.publish_event(
        InventoryReservationFailed(
            order_id=order_id,
            user_id="u-1",
            items=ITEMS,
            total_amount=Decimal("25.00"),
            currency="USD",
            reason="insufficient_stock",
        )
    )
    assert (await until_it_is(service, order_id, "failed"))["reason"] == "insufficient_stock"


async def test_a_declined_payment_releases_the_stock(service: ServiceProcess, others: OtherServices) -> None:
    order_id = await place_and_reserve(service, others)
    await others.publish_event(PaymentFailed(order_id=order_id, reason="declined"))
    await others.inventory.receive_a(InventoryReleaseRequested, order_id)
    assert (await until_it_is(service, order_id, "compensating"))["awaiting"] == ["release"]
    await others.publish_event(InventoryReleased(order_id=order_id))
    assert (await until_it_is(service, order_id, "failed"))["reason"] == "declined"


async def test_a_cancelled_order_is_released_and_refunded(
    service: ServiceProcess, others: OtherServices
) -> None:
    order_id = await place_and_reserve(service, others)
    assert service.http.post(f"/orders/{order_id}/cancel").status_code == 202
    assert service.http.post(f"/orders/{order_id}/cancel").status_code == 202
    await others.inventory.receive_a(InventoryReleaseRequested, order_id)
    await others.payment.receive_a(PaymentRefundRequested, order_id)
    await others.refund(order_id, "0")
    await others.publish_event(InventoryReleased(order_id=order_id))
    await until_it_is(service, order_id, "cancelled")


async def test_a_paid_order_cannot_be_cancelled(service: ServiceProcess, others: OtherServices) -> None:
    order_id = await place_and_pay(service, others)
    refusal = service.http.post(f"/orders/{order_id}/cancel")
    assert refusal.status_code == 409
    assert refusal.headers["content-type"] == "application/problem+json"
    assert "paid" in refusal.json()["detail"]


async def test_a_payment_that_comes_after_the_hold_expired_is_refunded(
    service: ServiceProcess, others: OtherServices
) -> None:
    order_id = await place_and_reserve(service, others)
    await others.publish_event(InventoryReservationExpired(order_id=order_id))
    assert (await until_it_is(service, order_id, "compensating"))["awaiting"] == ["payment"]
    await others.pay(order_id)
    await others.payment.receive_a(PaymentRefundRequested, order_id)
    await others.refund(order_id, "25.00")
    assert (await until_it_is(service, order_id, "failed"))["reason"] == "reservation_expired"


async def test_a_paid_order_without_stock_is_refunded_by_an_operator(
    service: ServiceProcess, others: OtherServices
) -> None:
    order_id = await place_and_pay(service, others)
    await others.publish_event(InventoryConfirmationFailed(order_id=order_id, reason="reservation_expired"))
    await others.payment.receive_a(PaymentRefundRequested, order_id)
    await others.publish_event(
        PaymentRefundFailed(order_id=order_id, reason="refused", attempts=1, payment_id=order_id)
    )
    await until_it_is(service, order_id, "refundPending")
    await others.refund(order_id, "25.00")
    await until_it_is(service, order_id, "failed")


async def test_an_order_is_adopted_from_a_request_published_manually(
    service: ServiceProcess, others: OtherServices, package_broker: Broker
) -> None:
    payload = (
        '{"type":"InventoryReservationRequested","orderId":"manual-1","userId":"u-1",'
        '"items":[{"productId":"tea","quantity":2}],"totalAmount":25}'
    )
    for _ in range(2):
        assert package_broker.publish_manually("order.events", "InventoryReservationRequested", payload)
        await others.inventory.receive_a(InventoryReservationRequested, "manual-1")
    await until_it_is(service, "manual-1", "pending")
    await others.reserve("manual-1")
    await others.payment.receive_a(PaymentRequested, "manual-1")


async def test_an_order_is_adopted_from_inventorys_answer(
    service: ServiceProcess, others: OtherServices
) -> None:
    await others.reserve("before-its-request")
    await others.payment.receive_a(PaymentRequested, "before-its-request")
    await until_it_is(service, "before-its-request", "reserved")


async def test_stock_held_for_another_request_is_released(
    service: ServiceProcess, others: OtherServices
) -> None:
    order_id = await place(service, others)
    await others.reserve(order_id, amount="1.00")
    await others.inventory.receive_a(InventoryReleaseRequested, order_id)
    assert (await until_it_is(service, order_id, "compensating"))["reason"] == "conflicting_request"


async def test_an_event_before_its_order_waits(service: ServiceProcess, others: OtherServices) -> None:
    order_id = uuid4().hex
    await others.publish_event(InventoryReservationExpired(order_id=order_id))
    await until(
        lambda: f'type="{InventoryReservationExpired.__name__}"' in _retries(service), "the event is deferred"
    )
    await others.reserve(order_id)
    await others.payment.receive_a(PaymentRequested, order_id)
    assert (await until_it_is(service, order_id, "compensating"))["reason"] == "reservation_expired"


def _retries(service: ServiceProcess) -> str:
    lines = service.http.get("/metrics").text.splitlines()
    return "\n".join(line for line in lines if line.startswith("saga_retries_total"))


async def test_a_bad_message_is_dead_lettered_and_the_service_goes_on(
    service: ServiceProcess, others: OtherServices
) -> None:
    bad = b'{"type":"InventoryConfirmed","orderId":"no spaces allowed"}'
    await others.publish("inventory.events", "InventoryConfirmed", bad)
    dead = await others.get("order_service.dead")
    await dead.ack()
    assert "orderId" in str(dead.headers["x-saga-reason"])
    await place(service, others)

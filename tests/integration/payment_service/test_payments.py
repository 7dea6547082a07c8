"""Requests of a saga, also twice or malformed: each payment is charged and refunded once."""

import asyncio
import json
from decimal import Decimal
from uuid import uuid4

import pytest

from events.catalogue import PaymentCompleted, PaymentFailed, PaymentRefunded
from tests.integration.payment_service.driver import DECLINE_ABOVE, NOTHING
from tests.support.broker import Broker
from tests.support.payment_driver import PRICE, PaymentDriver, refund, request


async def test_a_payment_is_approved(payments: PaymentDriver) -> None:
    asked = request("sim:approve", event_id=uuid4().hex, correlation_id="saga-of-another-name")
    await payments.publish_event(asked)
    completed = await payments.order.receive_a(PaymentCompleted, asked.order_id)
    assert completed.causation_id == asked.event_id
    assert completed.correlation_id == "saga-of-another-name"
    assert (completed.payment_id, completed.amount, completed.currency) == (asked.order_id, PRICE, "USD")
    payment = payments.payment(asked.order_id)
    assert payment["chargeId"]
    assert {name: payment[name] for name in payment if name != "chargeId"} == {
        "paymentId": asked.order_id,
        "orderId": asked.order_id,
        "status": "charged",
        "saga": True,
        "userId": "u-1",
        "amount": "25.00",
        "currency": "USD",
        "idempotencyKey": f"order-{asked.order_id}",
        "expiresAt": None,
        "pending": None,
        "actions": [],
        "nextAttemptAt": None,
        "refundId": None,
        "refundedAmount": "0.00",
        "refundAttempt": 0,
        "reason": None,
    }


@pytest.mark.parametrize(("method", "amount"), [("sim:decline", "25.00"), (None, "1000.01")])
async def test_a_payment_is_declined(payments: PaymentDriver, method: str | None, amount: str) -> None:
    asked = request(method, amount=amount, event_id=uuid4().hex)
    await payments.publish_event(asked)
    failed = await payments.order.receive_a(PaymentFailed, asked.order_id)
    assert (failed.reason, failed.causation_id) == ("declined", asked.event_id)
    payment = payments.payment(asked.order_id)
    assert (payment["status"], payment["reason"], payment["chargeId"]) == ("declined", "declined", None)
    await payments.publish_event(refund(asked.order_id))
    assert (await payments.order.receive_a(PaymentRefunded, asked.order_id)).amount == NOTHING
    assert payments.payment(asked.order_id)["status"] == "declined"


async def test_the_highest_amount_is_not_declined(payments: PaymentDriver) -> None:
    await payments.charge(amount=DECLINE_ABOVE, currency="XTS")


async def test_a_charged_payment_is_refunded(payments: PaymentDriver) -> None:
    order_id = await payments.charge(currency="CHF")
    assert payments.books("CHF") == ("25.00", "0.00")
    asked = refund(order_id, uuid4().hex, "CHF")
    await payments.publish_event(asked)
    refunded = await payments.order.receive_a(PaymentRefunded, order_id)
    assert refunded.causation_id == asked.event_id
    assert (refunded.amount, refunded.currency, refunded.payment_id) == (PRICE, "CHF", order_id)
    assert refunded.refund_id
    payment = payments.payment(order_id)
    assert (payment["status"], payment["refundedAmount"]) == ("refunded", "25.00")
    assert payment["refundId"] == refunded.refund_id
    assert payment["refundAttempt"] == 1
    assert payments.books("CHF") == ("25.00", "25.00")


async def test_a_refund_before_its_request_voids_the_payment(payments: PaymentDriver) -> None:
    order_id = uuid4().hex
    await payments.publish_event(refund(order_id, currency="NOK"))
    refunded = await payments.order.receive_a(PaymentRefunded, order_id)
    assert (refunded.amount, refunded.refund_id) == (NOTHING, None)
    first = request(order_id=order_id, event_id=uuid4().hex, currency="NOK")
    await payments.publish_event(first)
    failed = await payments.order.receive_a(PaymentFailed, order_id)
    assert failed.reason == "refund_requested_first"
    await payments.publish_event(first.model_copy(update={"event_id": uuid4().hex}))
    assert await payments.order.receive_a(PaymentFailed, order_id) == failed
    payment = payments.payment(order_id)
    assert (payment["status"], payment["chargeId"]) == ("void", None)
    assert payments.books("NOK") == ("0.00", "0.00")


async def test_a_payment_requested_twice_is_charged_once(payments: PaymentDriver) -> None:
    first = request(event_id=uuid4().hex, currency="HUF")
    await payments.publish_event(first)
    completed = await payments.order.receive_a(PaymentCompleted, first.order_id)
    charge = payments.payment(first.order_id)["chargeId"]
    again = (
        first,
        first.model_copy(update={"event_id": uuid4().hex}),
        first.model_copy(update={"event_id": uuid4().hex, "amount": Decimal("99.00")}),
    )
    for event in again:
        await payments.publish_event(event)
        assert await payments.order.receive_a(PaymentCompleted, first.order_id) == completed
    assert payments.payment(first.order_id)["chargeId"] == charge
    assert payments.books("HUF") == ("25.00", "0.00")
    assert payments.statement.charges(first.order_id) == {f"order-{first.order_id}"}


async def test_a_payment_requested_twice_at_once_is_charged_once(payments: PaymentDriver) -> None:
    first = request("sim:delay:0.1", event_id=uuid4().hex, currency="RON")
    other = first.model_copy(update={"event_id": uuid4().hex})
    await asyncio.gather(payments.publish_event(first), payments.publish_event(other))
    completed = await payments.order.receive_a(PaymentCompleted, first.order_id)
    assert completed.causation_id in (first.event_id, other.event_id)
    await payments.publish_event(other)
    assert await payments.order.receive_a(PaymentCompleted, first.order_id) == completed
    assert payments.books("RON") == ("25.00", "0.00")
    assert payments.statement.charges(first.order_id) == {f"order-{first.order_id}"}


async def test_a_request_published_manually_twice_is_charged_once(
    payments: PaymentDriver, package_broker: Broker
) -> None:
    order_id = uuid4().hex
    payload = json.dumps(
        {
            "type": "PaymentRequested",
            "orderId": order_id,
            "userId": "u-1",
            "amount": 0.1,
            "currency": "CZK",
            "idempotencyKey": f"order-{order_id}",
        }
    )
    answers = []
    for _ in range(2):
        assert package_broker.publish_manually("order.events", "PaymentRequested", payload)
        answers.append(await payments.order.receive_a(PaymentCompleted, order_id))
    assert answers[0] == answers[1]
    assert answers[0].amount == Decimal("0.1")
    assert payments.books("CZK") == ("0.10", "0.00")
    assert payments.statement.charges(order_id) == {f"order-{order_id}"}


async def test_a_refund_requested_twice_is_made_once(payments: PaymentDriver) -> None:
    order_id = await payments.charge(currency="BGN")
    answers = []
    for event_id in ("a-" + order_id, "a-" + order_id, "b-" + order_id):
        await payments.publish_event(refund(order_id, event_id, "BGN"))
        answers.append(await payments.order.receive_a(PaymentRefunded, order_id))
    assert answers[0] == answers[1] == answers[2]
    assert payments.payment(order_id)["refundAttempt"] == 1
    assert payments.books("BGN") == ("25.00", "25.00")
    assert payments.statement.refunds(order_id) == {f"refund-{order_id}-1"}


async def test_a_bad_message_is_dead_lettered_and_the_service_goes_on(payments: PaymentDriver) -> None:
    bad = b'{"type":"PaymentRequested","orderId":"o-1","userId":"u-1","amount":"-1","idempotencyKey":"k"}'
    await payments.publish("order.events", "PaymentRequested", bad)
    dead = await payments.get("payment_service.dead")
    await dead.ack()
    assert dead.body == bad
    assert "amount" in str(dead.headers["x-saga-reason"])
    await payments.charge()

"""A provider that is slow, down, refuses, or decides later."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from events.catalogue import (
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRequested,
)
from tests.integration.payment_service.driver import NOTHING
from tests.support.broker import until
from tests.support.payment_driver import PRICE, PaymentDriver, refund, request
from tests.support.services import ServiceProcess


async def test_a_slow_provider_delays_no_other_order(payments: PaymentDriver) -> None:
    silent = request("sim:timeout:1")
    slow = request("sim:delay:2", currency="SEK")
    cancelled = request("sim:delay:2", currency="SEK")
    cancelled_and_declined = request("sim:delay:2", currency="SEK", amount="2000")
    started = (silent, slow, cancelled, cancelled_and_declined)
    settled = payments.settled(PaymentRequested)
    await asyncio.gather(*(payments.publish_event(asked) for asked in started))
    await payments.charge()
    assert [payments.payment(asked.order_id)["status"] for asked in started] == ["charging"] * 4
    await payments.publish_event(refund(cancelled.order_id, currency="SEK"))
    await payments.publish_event(refund(cancelled_and_declined.order_id, currency="SEK"))
    await payments.charge()
    await until(
        lambda: payments.settled(PaymentRequested) == settled + 6, "no message waits for the provider"
    )
    assert [payments.payment(asked.order_id)["status"] for asked in started] == ["charging"] * 4
    assert payments.books("SEK") == ("0.00", "0.00")
    answers = await payments.receive_each(4)
    assert isinstance(answers[silent.order_id], PaymentCompleted)
    assert isinstance(answers[slow.order_id], PaymentCompleted)
    refunded = answers[cancelled.order_id]
    assert isinstance(refunded, PaymentRefunded)
    assert refunded.amount == PRICE
    never_paid = answers[cancelled_and_declined.order_id]
    assert isinstance(never_paid, PaymentRefunded)
    assert never_paid.amount == NOTHING
    assert [payments.payment(asked.order_id)["status"] for asked in started] == [
        "charged",
        "charged",
        "refunded",
        "declined",
    ]
    assert payments.books("SEK") == ("50.00", "25.00")


async def test_a_refund_request_during_the_charge_is_answered_later(payments: PaymentDriver) -> None:
    asked = request("sim:delay:0.2", event_id=uuid4().hex, currency="DKK")
    refund_request = refund(asked.order_id, uuid4().hex, currency="DKK")
    await asyncio.gather(payments.publish_event(asked), payments.publish_event(refund_request))
    refunded = await payments.order.receive_a(PaymentRefunded, asked.order_id)
    await payments.until_it_is(asked.order_id, "refunded")
    assert (refunded.amount, refunded.causation_id) == (PRICE, refund_request.event_id)
    await payments.publish_event(refund_request)
    assert await payments.order.receive_a(PaymentRefunded, asked.order_id) == refunded
    assert payments.books("DKK") == ("25.00", "25.00")


async def test_an_outage_of_the_provider_pauses_reading(
    payments: PaymentDriver, service: ServiceProcess
) -> None:
    first = request("sim:outage:1")
    await payments.publish_event(first)
    await payments.until_it_is(first.order_id, "charging")
    others = [request() for _ in range(5)]
    await asyncio.gather(*(payments.publish_event(asked) for asked in others))
    await until(lambda: not service.ready, "reading pauses")
    assert [payments.http.get(f"/payments/{asked.order_id}").status_code for asked in others] == [404] * 5
    answers = await payments.receive_each(6)
    assert {type(event) for event in answers.values()} == {PaymentCompleted}
    assert answers.keys() == {asked.order_id for asked in (first, *others)}
    assert await payments.depth("payment_service.dead") == 0
    assert service.ready


async def test_a_refused_refund_is_retried_until_it_succeeds(payments: PaymentDriver) -> None:
    order_id = await payments.charge(method="sim:refuse-refund:4", currency="PLN")
    asked = refund(order_id, uuid4().hex, currency="PLN")
    await payments.publish_event(asked)
    failed = await payments.order.receive_a(PaymentRefundFailed, order_id)
    assert (failed.reason, failed.attempts, failed.payment_id) == ("refused", 2, order_id)
    refunded = await payments.order.receive_a(PaymentRefunded, order_id)
    assert (refunded.amount, refunded.causation_id) == (PRICE, asked.event_id)
    payment = payments.payment(order_id)
    assert (payment["status"], payment["refundAttempt"]) == ("refunded", 5)
    assert refunded.refund_id == payment["refundId"]
    assert payments.books("PLN") == ("25.00", "25.00")
    await payments.publish_event(asked)
    assert [await payments.order.receive() for _ in range(2)] == [failed, refunded]


async def test_an_operator_settles_a_refused_refund_once(payments: PaymentDriver) -> None:
    order_id = await payments.charge(method="sim:refuse-refund:14")
    await payments.publish_event(refund(order_id))
    await payments.order.receive_a(PaymentRefundFailed, order_id)
    # Each is an attempt, made at once: waiting for the next ones would take more than an hour.
    await until(
        lambda: payments.http.post(f"/payments/{order_id}/refund").json()["status"] == "refunded",
        "it is settled",
    )
    refunded = await payments.order.receive_a(PaymentRefunded, order_id)
    again = payments.http.post(f"/payments/{order_id}/refund")
    assert (again.status_code, again.json()["status"]) == (202, "refunded")
    assert refunded.refund_id == again.json()["refundId"]


@pytest.mark.parametrize("notification", ["", ":no-notification"], ids=["notified", "asked"])
async def test_a_pending_payment_is_decided_later(payments: PaymentDriver, notification: str) -> None:
    asked = request(f"sim:pending:2{notification}", event_id=uuid4().hex)
    await payments.publish_event(asked)
    await until(lambda: bool(payments.payment(asked.order_id).get("actions")), "the customer can act")
    payment = payments.payment(asked.order_id)
    assert payment["status"] == "charging"
    assert payment["pending"]
    actions: Any = payment["actions"]
    assert [action["kind"] for action in actions] == ["redirect"]
    completed = await payments.order.receive_a(PaymentCompleted, asked.order_id)
    assert completed.causation_id == asked.event_id
    payment = payments.payment(asked.order_id)
    assert (payment["status"], payment["pending"], payment["actions"]) == ("charged", None, [])


async def test_a_pending_payment_that_is_cancelled_is_never_charged(payments: PaymentDriver) -> None:
    asked = request("sim:pending:3600", currency="THB")
    await payments.publish_event(asked)
    await until(lambda: bool(payments.payment(asked.order_id).get("pending")), "it is pending")
    await payments.publish_event(refund(asked.order_id, currency="THB"))
    assert (await payments.order.receive_a(PaymentRefunded, asked.order_id)).amount == NOTHING
    payment = payments.payment(asked.order_id)
    assert (payment["status"], payment["reason"]) == ("declined", "cancelled")
    assert payments.books("THB") == ("0.00", "0.00")


async def test_a_payment_that_expires_fails(payments: PaymentDriver) -> None:
    asked = request("sim:expire:0.2")
    await payments.publish_event(asked)
    assert (await payments.order.receive_a(PaymentFailed, asked.order_id)).reason == "expired"


async def test_a_pending_refund_is_decided_later(payments: PaymentDriver) -> None:
    order_id = await payments.charge(method="sim:pending-refund:0.5:no-notification")
    await payments.publish_event(refund(order_id))
    await until(lambda: bool(payments.payment(order_id)["pending"]), "the refund is pending")
    assert (await payments.order.receive_a(PaymentRefunded, order_id)).amount == PRICE


def ignored_notifications(service: ServiceProcess) -> set[str]:
    """Return the keys of the notifications that changed nothing."""
    lines = (json.loads(line) for line in service.log.splitlines() if '"notification_ignored"' in line)
    return {line["key"] for line in lines}


async def test_a_provider_that_answers_twice_charges_once(
    payments: PaymentDriver, service: ServiceProcess
) -> None:
    at_once = await payments.charge(method="sim:notify-twice", currency="VND")
    later = await payments.charge(method="sim:pending:0.5:notify-twice", currency="VND")
    await until(lambda: f"order-{later}" in ignored_notifications(service), "it is notified again")
    await payments.nothing_came()
    assert [payments.payment(order_id)["status"] for order_id in (at_once, later)] == ["charged"] * 2
    assert payments.books("VND") == ("50.00", "0.00")
    assert "charged_twice" not in service.log

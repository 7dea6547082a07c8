"""The payment service as a process that talks to (a stand-in for) Xendit, and listens to its webhooks."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest

from events.catalogue import (
    ORDER,
    PAYMENT,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
)
from tests.support.broker import Broker, until
from tests.support.payment_driver import PRICE, PaymentDriver, refund, request
from tests.support.services import ServiceProcess, check_problem, run_service, stand_in_for_others
from tests.support.xendit import KEY, TOKEN, Json, StandIn, XenditError, send, stand_in

CALL_TIMEOUT = 6.0


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with stand_in() as xendit:
        yield xendit


@pytest.fixture(scope="module")
def service(
    module_broker: Broker, mongodb_url: str, server: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    settings = {
        "provider": "xendit",
        "xendit_secret_key": KEY,
        "xendit_callback_token": TOKEN,
        "xendit_url": server.url,
        "call_timeout": str(CALL_TIMEOUT),
        "sweep_every": "0.1",
        "refund_attempts": "2",
        "refund_pause": "0.2",
    }
    directory = tmp_path_factory.mktemp("payment")
    with run_service(PAYMENT, module_broker.url, mongodb_url, directory, **settings) as service:
        yield service
        assert KEY not in service.log
        assert TOKEN not in service.log


@pytest.fixture
def xendit(server: StandIn) -> StandIn:
    """The stand-in, with empty books."""
    server.clear()
    return server


@pytest.fixture
async def payments(
    module_broker: Broker, service: ServiceProcess, xendit: StandIn
) -> AsyncIterator[PaymentDriver]:
    async with module_broker.connected() as client:
        neighbours = await stand_in_for_others(client, PAYMENT)
        service.wait_ready()
        payments = PaymentDriver(service, client, neighbours[ORDER])
        yield payments
        assert await client.depth(ORDER) == 0, "an event that the test did not expect"


def asked(method: str = "GCASH") -> Any:
    """Return a request to charge in the Philippines."""
    return request(method, currency="PHP", event_id=uuid4().hex)


async def pending(payments: PaymentDriver, xendit: StandIn, event: Any) -> Json:
    """Have a payment asked for that Xendit puts off; return its payment request."""
    await payments.publish_event(event)
    await until(lambda: bool(payments.payment(event.order_id).get("pending")), "it is pending")
    (made,) = xendit.of(f"order-{event.order_id}")
    return made


async def charged(payments: PaymentDriver) -> str:
    """Have a payment charged at once; return its order's id."""
    event = asked("pt-good-1")
    await payments.publish_event(event)
    await payments.order.receive_a(PaymentCompleted, event.order_id)
    return str(event.order_id)


def send_webhook(payments: PaymentDriver, event: Json) -> None:
    """Send a webhook; the service accepts it."""
    assert send(str(payments.http.base_url), event).status_code == 200


async def test_a_customers_payment_is_notified_by_a_webhook(payments: PaymentDriver, xendit: StandIn) -> None:
    event = asked()
    made = await pending(payments, xendit, event)
    payment = payments.payment(event.order_id)
    assert (payment["status"], payment["pending"]) == ("charging", made["payment_request_id"])
    assert payment["actions"] == [
        {
            "kind": "redirect",
            "name": "web_url",
            "value": f"https://pay.example/{made['payment_request_id']}",
        }
    ]
    xendit.pay(made["payment_request_id"])
    send_webhook(payments, xendit.payment_event(made))
    completed = await payments.order.receive_a(PaymentCompleted, event.order_id)
    assert (completed.causation_id, completed.amount) == (event.event_id, PRICE)
    assert payments.payment(event.order_id)["chargeId"] == made["payment_request_id"]


async def test_webhooks_may_come_repeatedly_and_in_any_order(
    payments: PaymentDriver, xendit: StandIn
) -> None:
    event = asked()
    made = await pending(payments, xendit, event)
    send_webhook(payments, xendit.payment_event(made, "payment.authorization"))
    failed_before = xendit.payment_event(made, "payment.failure")
    xendit.pay(made["payment_request_id"])
    captured = xendit.payment_event(made)
    for webhook in (failed_before, captured, captured, failed_before):
        send_webhook(payments, webhook)
    await payments.order.receive_a(PaymentCompleted, event.order_id)
    calls = len(xendit.calls)
    send_webhook(payments, captured)
    assert len(xendit.calls) == calls, "what is settled is not asked about"
    assert payments.payment(event.order_id)["status"] == "charged"


async def test_without_any_webhook_xendit_is_asked(payments: PaymentDriver, xendit: StandIn) -> None:
    event = asked()
    made = await pending(payments, xendit, event)
    xendit.pay(made["payment_request_id"])
    await payments.order.receive_a(PaymentCompleted, event.order_id)


async def test_a_webhook_may_come_before_our_own_write(payments: PaymentDriver, xendit: StandIn) -> None:
    # The service did not learn that the charge was made, and a repeated call is refused.
    xendit.idempotent = False
    xendit.trouble = [XenditError(silent=3 * CALL_TIMEOUT, after=True)]
    event = asked()
    await payments.publish_event(event)
    await until(lambda: bool(xendit.requests), "the charge is made")
    assert payments.payment(event.order_id)["pending"] is None
    made = xendit.only()
    xendit.pay(made["payment_request_id"])
    send_webhook(payments, xendit.payment_event(made))
    completed = await payments.order.receive_a(PaymentCompleted, event.order_id)
    # The relay has published it at once; the message that waited for the call repeats it.
    assert await payments.order.receive_a(PaymentCompleted, event.order_id) == completed
    assert xendit.only() == made


async def test_an_expired_payment_fails(payments: PaymentDriver, xendit: StandIn) -> None:
    event = asked()
    made = await pending(payments, xendit, event)
    xendit.expire(made["payment_request_id"])
    send_webhook(payments, xendit.payment_event(made, "payment_request.expiry"))
    assert (await payments.order.receive_a(PaymentFailed, event.order_id)).reason == "expired"


async def test_a_declined_payment_that_is_paid_later_is_refunded(
    payments: PaymentDriver, xendit: StandIn
) -> None:
    event = asked()
    made = await pending(payments, xendit, event)
    xendit.expire(made["payment_request_id"])
    send_webhook(payments, xendit.payment_event(made, "payment_request.expiry"))
    await payments.order.receive_a(PaymentFailed, event.order_id)
    made["status"], xendit.refunds = "SUCCEEDED", "SUCCEEDED"
    send_webhook(payments, xendit.payment_event(made))
    assert (await payments.order.receive_a(PaymentRefunded, event.order_id)).amount == PRICE
    assert len(xendit.refunds_made) == 1


async def test_a_payment_that_is_cancelled_cannot_be_paid_any_more(
    payments: PaymentDriver, xendit: StandIn
) -> None:
    event = asked()
    made = await pending(payments, xendit, event)
    await payments.publish_event(refund(event.order_id, currency="PHP"))
    assert (await payments.order.receive_a(PaymentRefunded, event.order_id)).amount == 0
    assert made["status"] == "CANCELED"


async def test_a_card_that_is_declined(payments: PaymentDriver) -> None:
    event = asked("pt-poor-1")
    await payments.publish_event(event)
    assert (await payments.order.receive_a(PaymentFailed, event.order_id)).reason == "card_declined"


async def test_a_pending_refund_is_notified_by_a_webhook(payments: PaymentDriver, xendit: StandIn) -> None:
    order_id = await charged(payments)
    await payments.publish_event(refund(order_id, currency="PHP"))
    await until(lambda: bool(payments.payment(order_id)["pending"]), "the refund is pending")
    made = xendit.decide_refund("SUCCEEDED")
    for _ in range(2):
        send_webhook(payments, xendit.refund_event(made))
    refunded = await payments.order.receive_a(PaymentRefunded, order_id)
    assert (refunded.amount, refunded.refund_id) == (PRICE, made["id"])


async def test_a_refund_that_fails_is_made_again_under_another_key(
    payments: PaymentDriver, xendit: StandIn
) -> None:
    order_id = await charged(payments)
    xendit.refunds = "INSUFFICIENT_BALANCE"
    await payments.publish_event(refund(order_id, currency="PHP"))
    failed = await payments.order.receive_a(PaymentRefundFailed, order_id)
    assert (failed.reason, failed.attempts) == ("insufficient_balance", 2)
    xendit.refunds = "SUCCEEDED"
    await until(
        lambda: payments.http.post(f"/payments/{order_id}/refund").json()["status"] == "refunded",
        "it is settled",
    )
    await payments.order.receive_a(PaymentRefunded, order_id)
    (made,) = xendit.refunds_made.values()
    assert made["reference_id"] == f"refund-{order_id}-{payments.payment(order_id)['refundAttempt']}"


async def test_payments_wait_for_xendit_and_are_made_once(
    payments: PaymentDriver, xendit: StandIn, service: ServiceProcess
) -> None:
    xendit.trouble = [XenditError(503, "SERVER_ERROR")] * 12
    events = [asked("pt-good-1") for _ in range(8)]
    for event in events:
        await payments.publish_event(event)
    answers = await payments.receive_each(len(events))
    assert {type(answer) for answer in answers.values()} == {PaymentCompleted}
    assert len(xendit.requests) == len(events)
    assert await payments.depth("payment_service.dead") == 0


async def test_a_webhook_that_cannot_be_followed_is_asked_for_again(
    payments: PaymentDriver, xendit: StandIn
) -> None:
    event = asked()
    made = await pending(payments, xendit, event)
    xendit.pay(made["payment_request_id"])
    xendit.trouble = [XenditError(503, "CHANNEL_UNAVAILABLE")]
    webhook = xendit.payment_event(made)
    check_problem(send(str(payments.http.base_url), webhook), 503)
    send_webhook(payments, webhook)
    await payments.order.receive_a(PaymentCompleted, event.order_id)


@pytest.mark.parametrize("token", [None, "", "token", TOKEN + "x", TOKEN.upper()])
async def test_a_webhook_with_a_wrong_token_is_rejected(
    payments: PaymentDriver, xendit: StandIn, token: str | None
) -> None:
    event = asked()
    made = await pending(payments, xendit, event)
    calls = len(xendit.calls)
    webhook = {**xendit.payment_event(made), "data": {**made, "status": "SUCCEEDED"}}
    check_problem(send(str(payments.http.base_url), webhook, token), 401)
    assert len(xendit.calls) == calls
    assert payments.payment(event.order_id)["status"] == "charging"
    await payments.publish_event(refund(event.order_id, currency="PHP"))
    await payments.order.receive_a(PaymentRefunded, event.order_id)


async def test_a_webhooks_claim_is_checked_with_the_provider(
    payments: PaymentDriver, xendit: StandIn
) -> None:
    event = asked()
    made = await pending(payments, xendit, event)
    send_webhook(payments, {**xendit.payment_event(made), "data": {**made, "status": "SUCCEEDED"}})
    payment = payments.payment(event.order_id)
    assert (payment["status"], payment["pending"]) == ("charging", made["payment_request_id"])
    await payments.publish_event(refund(event.order_id, currency="PHP"))
    await payments.order.receive_a(PaymentRefunded, event.order_id)


@pytest.mark.parametrize(
    "event",
    [
        {"event": "payment.capture", "data": {"reference_id": "order-unknown", "payment_request_id": "pr-1"}},
        {"event": "payment.capture", "data": {"reference_id": "another-shop", "payment_request_id": "pr-1"}},
        {"event": "refund.failed", "data": {"reference_id": "refund-unknown-1", "id": "rfd-1"}},
        {"event": "payout.succeeded", "data": {"reference_id": "order-unknown", "id": "po-1"}},
        {},
    ],
    ids=str,
)
async def test_unknown_webhook_is_accepted_and_ignored(
    payments: PaymentDriver, xendit: StandIn, event: Json
) -> None:
    send_webhook(payments, event)
    assert xendit.calls == []


async def test_the_webhook_of_another_payment_settles_nothing(
    payments: PaymentDriver, xendit: StandIn
) -> None:
    mine, other = asked(), asked()
    await pending(payments, xendit, mine)
    paid = await pending(payments, xendit, other)
    xendit.pay(paid["payment_request_id"])
    forged = xendit.payment_event({**paid, "reference_id": f"order-{mine.order_id}"})
    check_problem(send(str(payments.http.base_url), forged), 503)
    assert payments.payment(mine.order_id)["status"] == "charging"
    await payments.publish_event(refund(mine.order_id, currency="PHP"))
    answers = await payments.receive_each(2)
    assert isinstance(answers[mine.order_id], PaymentRefunded)
    assert isinstance(answers[other.order_id], PaymentCompleted)


async def test_a_second_payment_of_one_key_is_refunded_and_logged(
    payments: PaymentDriver, xendit: StandIn, service: ServiceProcess
) -> None:
    order_id = await charged(payments)
    made = xendit.only()
    another = {**made, "payment_request_id": f"pr-{uuid4()}"}
    xendit.requests[another["payment_request_id"]] = another
    send_webhook(payments, xendit.payment_event(made))
    assert "charged_twice" not in service.log
    xendit.refunds = "INSUFFICIENT_BALANCE"
    check_problem(send(str(payments.http.base_url), xendit.payment_event(another)), 503)
    xendit.idempotent, xendit.refunds = False, "SUCCEEDED"
    for _ in range(2):
        send_webhook(payments, xendit.payment_event(another))
    assert "charged_twice" in service.log
    (refunded,) = xendit.refunds_made.values()
    assert refunded["payment_request_id"] == another["payment_request_id"]
    payment = payments.payment(order_id)
    assert (payment["status"], payment["chargeId"]) == ("charged", made["payment_request_id"])


def test_a_body_that_is_not_json_is_rejected(service: ServiceProcess) -> None:
    answer = service.http.post("/webhooks/xendit", content=b"{", headers={"x-callback-token": TOKEN})
    check_problem(answer, 400)

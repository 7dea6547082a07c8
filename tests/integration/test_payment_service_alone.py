"""The payment service on a real broker and database, with order absent: events in, events and money out."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from events.catalogue import (
    INVENTORY,
    ORDER,
    PAYMENT,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRequested,
)
from local_stack.mongodb_node import DatabaseNode
from tests.support.broker import Broker, until
from tests.support.payment_driver import PRICE, PaymentDriver, refund, request
from tests.support.services import Alone, alone, check_problem, database_server, stand_in_for_others

DECLINE_ABOVE = "1000"
NOTHING = Decimal(0)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseNode]:
    """A database server of this module's own, so that a test may end it."""
    with database_server(tmp_path_factory.mktemp("mongodb")) as node:
        yield node


@pytest.fixture(scope="module")
def service(
    module_broker: Broker, database: DatabaseNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Alone]:
    directory = tmp_path_factory.mktemp("payment")
    settings = {"call_timeout": "0.3", "sweep_every": "0.1", "sim_decline_above": DECLINE_ABOVE}
    settings |= {"refund_attempts": "2", "refund_pause": "0.2"}
    with alone(PAYMENT, module_broker.url, database.url, directory, **settings) as service:
        yield service


@pytest.fixture
async def till(module_broker: Broker, service: Alone) -> AsyncIterator[PaymentDriver]:
    async with module_broker.connected() as client:
        neighbours = await stand_in_for_others(client, PAYMENT)
        service.wait_ready()
        till = PaymentDriver(service, client, neighbours[ORDER])
        yield till
        assert await client.depth(INVENTORY) == 0, "an event for inventory"
        assert await client.depth(ORDER) == 0 or not till.once, "an event that the test did not expect"


# Events in, events out


async def test_a_payment_is_approved(till: PaymentDriver) -> None:
    asked = request("sim:approve", event_id=uuid4().hex, correlation_id="saga-of-another-name")
    await till.tell(asked)
    completed = await till.order.receive_a(PaymentCompleted, asked.order_id)
    assert completed.causation_id == asked.event_id
    assert completed.correlation_id == "saga-of-another-name"
    assert (completed.payment_id, completed.amount, completed.currency) == (asked.order_id, PRICE, "USD")
    payment = till.payment(asked.order_id)
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
async def test_a_payment_is_declined(till: PaymentDriver, method: str | None, amount: str) -> None:
    asked = request(method, amount=amount, event_id=uuid4().hex)
    await till.tell(asked)
    failed = await till.order.receive_a(PaymentFailed, asked.order_id)
    assert (failed.reason, failed.causation_id) == ("declined", asked.event_id)
    payment = till.payment(asked.order_id)
    assert (payment["status"], payment["reason"], payment["chargeId"]) == ("declined", "declined", None)
    await till.tell(refund(asked.order_id))
    assert (await till.order.receive_a(PaymentRefunded, asked.order_id)).amount == NOTHING
    assert till.payment(asked.order_id)["status"] == "declined"


async def test_the_highest_amount_is_not_declined(till: PaymentDriver) -> None:
    await till.charge(amount=DECLINE_ABOVE, currency="XTS")


async def test_a_charged_payment_is_refunded(till: PaymentDriver) -> None:
    order_id = await till.charge(currency="CHF")
    assert till.books("CHF") == ("25.00", "0.00")
    asked = refund(order_id, uuid4().hex, "CHF")
    await till.tell(asked)
    refunded = await till.order.receive_a(PaymentRefunded, order_id)
    assert refunded.causation_id == asked.event_id
    assert (refunded.amount, refunded.currency, refunded.payment_id) == (PRICE, "CHF", order_id)
    assert refunded.refund_id
    payment = till.payment(order_id)
    assert (payment["status"], payment["refundedAmount"]) == ("refunded", "25.00")
    assert payment["refundId"] == refunded.refund_id
    assert payment["refundAttempt"] == 1
    assert till.books("CHF") == ("25.00", "25.00")


async def test_a_refund_before_its_request_voids_the_payment(till: PaymentDriver) -> None:
    order_id = uuid4().hex
    await till.tell(refund(order_id, currency="NOK"))
    refunded = await till.order.receive_a(PaymentRefunded, order_id)
    assert (refunded.amount, refunded.refund_id) == (NOTHING, None)
    first = request(order_id=order_id, event_id=uuid4().hex, currency="NOK")
    await till.tell(first)
    failed = await till.order.receive_a(PaymentFailed, order_id)
    assert failed.reason == "refund_requested_first"
    await till.tell(first.model_copy(update={"event_id": uuid4().hex}))
    assert await till.order.receive_a(PaymentFailed, order_id) == failed
    payment = till.payment(order_id)
    assert (payment["status"], payment["chargeId"]) == ("void", None)
    assert till.books("NOK") == ("0.00", "0.00")


# The provider misbehaves


async def test_a_slow_provider_delays_no_other_order(till: PaymentDriver) -> None:
    silent = request("sim:timeout:1")
    slow = request("sim:delay:2", currency="SEK")
    undone = request("sim:delay:2", currency="SEK")
    undone_and_declined = request("sim:delay:2", currency="SEK", amount="2000")
    started = (silent, slow, undone, undone_and_declined)
    settled = till.settled(PaymentRequested)
    await asyncio.gather(*(till.tell(asked) for asked in started))
    await till.charge()
    assert [till.payment(asked.order_id)["status"] for asked in started] == ["charging"] * 4
    await till.tell(refund(undone.order_id, currency="SEK"))
    await till.tell(refund(undone_and_declined.order_id, currency="SEK"))
    await till.charge()
    await until(
        lambda: till.settled(PaymentRequested) == settled + 6, "no message waits for the provider any more"
    )
    assert [till.payment(asked.order_id)["status"] for asked in started] == ["charging"] * 4
    assert till.books("SEK") == ("0.00", "0.00")
    answers = await till.receive_each(4)
    assert isinstance(answers[silent.order_id], PaymentCompleted)
    assert isinstance(answers[slow.order_id], PaymentCompleted)
    paid_back = answers[undone.order_id]
    assert isinstance(paid_back, PaymentRefunded)
    assert paid_back.amount == PRICE
    never_paid = answers[undone_and_declined.order_id]
    assert isinstance(never_paid, PaymentRefunded)
    assert never_paid.amount == NOTHING
    assert [till.payment(asked.order_id)["status"] for asked in started] == [
        "charged",
        "charged",
        "refunded",
        "declined",
    ]
    assert till.books("SEK") == ("50.00", "25.00")


async def test_a_refund_request_during_the_charge_is_answered_later(
    till: PaymentDriver,
) -> None:
    asked = request("sim:delay:0.2", event_id=uuid4().hex, currency="DKK")
    undo = refund(asked.order_id, uuid4().hex, currency="DKK")
    await asyncio.gather(till.tell(asked), till.tell(undo))
    refunded = await till.order.receive_a(PaymentRefunded, asked.order_id)
    await till.until_it_is(asked.order_id, "refunded")
    assert (refunded.amount, refunded.causation_id) == (PRICE, undo.event_id)
    await till.tell(undo)
    assert await till.order.receive_a(PaymentRefunded, asked.order_id) == refunded
    assert till.books("DKK") == ("25.00", "25.00")


async def test_an_outage_of_the_provider_pauses_reading(till: PaymentDriver, service: Alone) -> None:
    first = request("sim:outage:1")
    await till.tell(first)
    await till.until_it_is(first.order_id, "charging")
    others = [request() for _ in range(5)]
    await asyncio.gather(*(till.tell(asked) for asked in others))
    await until(lambda: not service.ready, "reading pauses")
    assert [till.http.get(f"/payments/{asked.order_id}").status_code for asked in others] == [404] * 5
    answers = await till.receive_each(6)
    assert {type(event) for event in answers.values()} == {PaymentCompleted}
    assert answers.keys() == {asked.order_id for asked in (first, *others)}
    assert await till.depth("payment_service.dead") == 0
    assert service.ready


async def test_a_refused_refund_is_retried_until_it_succeeds(
    till: PaymentDriver,
) -> None:
    order_id = await till.charge(method="sim:refuse-refund:4", currency="PLN")
    asked = refund(order_id, uuid4().hex, currency="PLN")
    await till.tell(asked)
    failed = await till.order.receive_a(PaymentRefundFailed, order_id)
    assert (failed.reason, failed.attempts, failed.payment_id) == ("refused", 2, order_id)
    refunded = await till.order.receive_a(PaymentRefunded, order_id)
    assert (refunded.amount, refunded.causation_id) == (PRICE, asked.event_id)
    payment = till.payment(order_id)
    assert (payment["status"], payment["refundAttempt"]) == ("refunded", 5)
    assert refunded.refund_id == payment["refundId"]
    assert till.books("PLN") == ("25.00", "25.00")
    await till.tell(asked)
    assert [await till.order.receive() for _ in range(2)] == [failed, refunded]


async def test_an_operator_settles_a_refused_refund_once(
    till: PaymentDriver,
) -> None:
    order_id = await till.charge(method="sim:refuse-refund:14")
    await till.tell(refund(order_id))
    await till.order.receive_a(PaymentRefundFailed, order_id)
    # Each is an attempt, made at once: waiting for the next ones would take more than an hour.
    await until(
        lambda: till.http.post(f"/payments/{order_id}/refund").json()["status"] == "refunded", "it is settled"
    )
    refunded = await till.order.receive_a(PaymentRefunded, order_id)
    again = till.http.post(f"/payments/{order_id}/refund")
    assert (again.status_code, again.json()["status"]) == (202, "refunded")
    assert refunded.refund_id == again.json()["refundId"]


# The provider decides later


@pytest.mark.parametrize("heard", ["", ":no-notification"], ids=["notified", "asked"])
async def test_a_pending_payment_is_decided_later(till: PaymentDriver, heard: str) -> None:
    asked = request(f"sim:pending:2{heard}", event_id=uuid4().hex)
    await till.tell(asked)
    await until(lambda: bool(till.payment(asked.order_id).get("actions")), "the customer can act")
    payment = till.payment(asked.order_id)
    assert payment["status"] == "charging"
    assert payment["pending"]
    actions: Any = payment["actions"]
    assert [action["kind"] for action in actions] == ["redirect"]
    completed = await till.order.receive_a(PaymentCompleted, asked.order_id)
    assert completed.causation_id == asked.event_id
    payment = till.payment(asked.order_id)
    assert (payment["status"], payment["pending"], payment["actions"]) == ("charged", None, [])


async def test_a_pending_payment_that_is_cancelled_is_never_charged(till: PaymentDriver) -> None:
    asked = request("sim:pending:3600", currency="THB")
    await till.tell(asked)
    await until(lambda: bool(till.payment(asked.order_id).get("pending")), "it is pending")
    await till.tell(refund(asked.order_id, currency="THB"))
    assert (await till.order.receive_a(PaymentRefunded, asked.order_id)).amount == NOTHING
    payment = till.payment(asked.order_id)
    assert (payment["status"], payment["reason"]) == ("declined", "cancelled")
    assert till.books("THB") == ("0.00", "0.00")


async def test_a_payment_that_expires_fails(till: PaymentDriver) -> None:
    asked = request("sim:expire:0.2")
    await till.tell(asked)
    assert (await till.order.receive_a(PaymentFailed, asked.order_id)).reason == "expired"


async def test_a_pending_refund_is_decided_later(till: PaymentDriver) -> None:
    order_id = await till.charge(method="sim:pending-refund:0.5:no-notification")
    await till.tell(refund(order_id))
    await until(lambda: bool(till.payment(order_id)["pending"]), "the refund is pending")
    assert (await till.order.receive_a(PaymentRefunded, order_id)).amount == PRICE


def notices_ignored(service: Alone) -> set[str]:
    """Return the keys of the notifications that brought the service nothing new."""
    lines = (json.loads(line) for line in service.log.splitlines() if '"notification_ignored"' in line)
    return {line["key"] for line in lines}


async def test_a_provider_that_answers_twice_charges_once(till: PaymentDriver, service: Alone) -> None:
    at_once = await till.charge(method="sim:notify-twice", currency="VND")
    later = await till.charge(method="sim:pending:0.5:notify-twice", currency="VND")
    await until(lambda: f"order-{later}" in notices_ignored(service), "it is notified once more")
    await till.nothing_came()
    assert [till.payment(order_id)["status"] for order_id in (at_once, later)] == ["charged"] * 2
    assert till.books("VND") == ("50.00", "0.00")
    assert "charged_twice" not in service.log


async def test_an_answer_is_published_once_the_broker_takes_it(till: PaymentDriver) -> None:
    asked = request("sim:delay:0.2")
    await till.close_order()
    await till.tell(asked)
    await till.until_it_is(asked.order_id, "charged")
    await till.open_order()
    await till.order.receive_a(PaymentCompleted, asked.order_id)


async def test_a_refund_made_for_another_message_is_published(
    till: PaymentDriver,
) -> None:
    asked = request("sim:delay:0.2", event_id=uuid4().hex)
    undo = refund(asked.order_id, uuid4().hex)
    await till.close_order()
    await asyncio.gather(till.tell(asked), till.tell(undo))
    await till.until_it_is(asked.order_id, "refunded")
    await till.open_order()
    refunded = await till.order.receive_a(PaymentRefunded, asked.order_id)
    assert (refunded.amount, refunded.causation_id) == (PRICE, undo.event_id)


# Repetitions


async def test_a_payment_requested_twice_is_charged_once(till: PaymentDriver) -> None:
    first = request(event_id=uuid4().hex, currency="HUF")
    await till.tell(first)
    completed = await till.order.receive_a(PaymentCompleted, first.order_id)
    charge = till.payment(first.order_id)["chargeId"]
    again = (
        first,
        first.model_copy(update={"event_id": uuid4().hex}),
        first.model_copy(update={"event_id": uuid4().hex, "amount": Decimal("99.00")}),
    )
    for event in again:
        await till.tell(event)
        assert await till.order.receive_a(PaymentCompleted, first.order_id) == completed
    assert till.payment(first.order_id)["chargeId"] == charge
    assert till.books("HUF") == ("25.00", "0.00")
    assert till.statement.charges(first.order_id) == {f"order-{first.order_id}"}


async def test_a_payment_requested_twice_at_once_is_charged_once(till: PaymentDriver) -> None:
    first = request("sim:delay:0.1", event_id=uuid4().hex, currency="RON")
    other = first.model_copy(update={"event_id": uuid4().hex})
    await asyncio.gather(till.tell(first), till.tell(other))
    completed = await till.order.receive_a(PaymentCompleted, first.order_id)
    assert completed.causation_id in (first.event_id, other.event_id)
    await till.tell(other)
    assert await till.order.receive_a(PaymentCompleted, first.order_id) == completed
    assert till.books("RON") == ("25.00", "0.00")
    assert till.statement.charges(first.order_id) == {f"order-{first.order_id}"}


async def test_a_request_published_manually_twice_is_charged_once(
    till: PaymentDriver, module_broker: Broker
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
        assert module_broker.publish_manually("order.events", "PaymentRequested", payload)
        answers.append(await till.order.receive_a(PaymentCompleted, order_id))
    assert answers[0] == answers[1]
    assert answers[0].amount == Decimal("0.1")
    assert till.books("CZK") == ("0.10", "0.00")
    assert till.statement.charges(order_id) == {f"order-{order_id}"}


async def test_a_refund_requested_twice_is_made_once(till: PaymentDriver) -> None:
    order_id = await till.charge(currency="BGN")
    answers = []
    for event_id in ("a-" + order_id, "a-" + order_id, "b-" + order_id):
        await till.tell(refund(order_id, event_id, "BGN"))
        answers.append(await till.order.receive_a(PaymentRefunded, order_id))
    assert answers[0] == answers[1] == answers[2]
    assert till.payment(order_id)["refundAttempt"] == 1
    assert till.books("BGN") == ("25.00", "25.00")
    assert till.statement.refunds(order_id) == {f"refund-{order_id}-1"}


async def test_a_bad_message_is_dead_lettered_and_the_service_goes_on(till: PaymentDriver) -> None:
    bad = b'{"type":"PaymentRequested","orderId":"o-1","userId":"u-1","amount":"-1","idempotencyKey":"k"}'
    await till.publish("order.events", "PaymentRequested", bad)
    dead = await till.get("payment_service.dead")
    await dead.ack()
    assert dead.body == bad
    assert "amount" in str(dead.headers["x-saga-reason"])
    await till.charge()


# HTTP


def body(**fields: object) -> dict[str, object]:
    order_id = uuid4().hex
    return {
        "orderId": order_id,
        "userId": "u-1",
        "amount": "25.00",
        "idempotencyKey": f"key-{order_id}",
        **fields,
    }


async def test_a_payment_made_over_http_is_charged_once(till: PaymentDriver) -> None:
    asked = body(amount=10.5, currency="ISK")
    order_id = asked["orderId"]
    first = till.http.post("/payments", json=asked)
    assert first.status_code == 202
    assert first.headers["location"] == f"/payments/{order_id}"
    payment = first.json()
    assert (payment["paymentId"], payment["status"], payment["saga"]) == (order_id, "charged", False)
    assert (payment["amount"], payment["currency"]) == ("10.50", "ISK")
    again = till.http.post("/payments", json={**asked, "amount": "10.50"})
    assert (again.status_code, again.json()) == (202, payment)
    for other in ({"amount": 11}, {"userId": "u-2"}, {"idempotencyKey": "another"}, {"currency": "USD"}):
        check_problem(till.http.post("/payments", json={**asked, **other}), 409)
    assert till.payment(str(order_id)) == payment
    assert till.books("ISK") == ("10.50", "0.00")
    await till.nothing_came()


async def test_a_payment_requested_many_times_at_once_is_charged_once(till: PaymentDriver) -> None:
    asked = body(currency="NOK", paymentMethod="sim:delay:0.1")
    order_id = str(asked["orderId"])
    answers = await asyncio.gather(
        *(asyncio.to_thread(till.http.post, "/payments", json=asked) for _ in range(8))
    )
    assert [answer.status_code for answer in answers] == [202] * 8
    await till.until_it_is(order_id, "charged")
    assert till.books("NOK") == ("25.00", "0.00")
    refunds = await asyncio.gather(
        *(asyncio.to_thread(till.http.post, f"/payments/{order_id}/refund") for _ in range(8))
    )
    assert [answer.status_code for answer in refunds] == [202] * 8
    await till.until_it_is(order_id, "refunded")
    assert till.payment(order_id)["refundAttempt"] == 1
    assert till.books("NOK") == ("25.00", "25.00")
    await till.nothing_came()


async def test_a_payment_made_over_http_is_declined(till: PaymentDriver) -> None:
    answer = till.http.post("/payments", json=body(paymentMethod="sim:decline"))
    assert (answer.status_code, answer.json()["status"]) == (202, "declined")
    check_problem(till.http.post(f"/payments/{answer.json()['orderId']}/refund"), 409)
    await till.nothing_came()


async def test_a_payment_made_over_http_is_refunded_once(till: PaymentDriver) -> None:
    order_id = till.http.post("/payments", json=body(currency="TRY")).json()["orderId"]
    answers = [till.http.post(f"/payments/{order_id}/refund") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json()["status"] for answer in answers] == ["refunded", "refunded"]
    assert answers[0].json() == answers[1].json()
    assert till.books("TRY") == ("25.00", "25.00")
    await till.nothing_came()


async def test_an_unanswered_direct_payment_is_retried(till: PaymentDriver) -> None:
    asked = body(paymentMethod="sim:timeout:1")
    first = till.http.post("/payments", json=asked)
    assert (first.status_code, first.json()["status"]) == (202, "charging")
    check_problem(till.http.post(f"/payments/{asked['orderId']}/refund"), 409)
    again = till.http.post("/payments", json=asked)
    assert (again.status_code, again.json()["status"]) == (202, "charged")
    await till.nothing_came()


async def test_two_orders_with_one_idempotency_key_are_charged_twice(
    till: PaymentDriver,
) -> None:
    first, second = body(), body()
    till.http.post("/payments", json=first).raise_for_status()
    answer = till.http.post("/payments", json={**second, "idempotencyKey": first["idempotencyKey"]})
    charges = [till.payment(str(asked["orderId"])).get("chargeId") for asked in (first, second)]
    assert answer.status_code == 409 or charges[0] != charges[1]
    await till.nothing_came()


async def test_the_payment_of_a_saga_is_not_refunded_over_http(till: PaymentDriver) -> None:
    by_event = await till.charge(currency="MXN")
    joined = till.http.post("/payments", json=body(currency="MXN")).json()["orderId"]
    await till.charge(order_id=joined, currency="MXN")
    for order_id in (by_event, joined):
        check_problem(till.http.post(f"/payments/{order_id}/refund"), 409)
        assert till.payment(order_id)["status"] == "charged"
    assert till.books("MXN") == ("50.00", "0.00")


async def test_the_books_are_exact(till: PaymentDriver) -> None:
    amounts = ["0.1", "0.2", "0.0001", "999.99"]
    orders = [await till.charge(amount=amount, currency="JPY") for amount in amounts]
    await till.charge(amount="3.33", currency="KRW")
    await till.tell(refund(orders[0], currency="JPY"))
    await till.order.receive_a(PaymentRefunded, orders[0])
    assert till.books("JPY") == ("1000.2901", "0.10")
    assert till.books("KRW") == ("3.33", "0.00")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/payments/unknown-id"), ("POST", "/payments/unknown-id/refund"), ("GET", "/nowhere")],
)
def test_an_unknown_id_is_not_found(service: Alone, method: str, path: str) -> None:
    check_problem(service.http.request(method, path), 404)


INVALID: dict[str, tuple[dict[str, object], str]] = {
    "no order": ({"orderId": None}, "orderId"),
    "an order id that is too long": ({"orderId": "o" * 65}, "orderId"),
    "a user id with a dot": ({"userId": "a.b"}, "userId"),
    "no money": ({"amount": "0"}, "amount"),
    "less than nothing": ({"amount": -1}, "amount"),
    "money that is no number": ({"amount": "much"}, "amount"),
    "money too fine": ({"amount": "1.00001"}, "amount"),
    "a currency that is none": ({"currency": "euro"}, "currency"),
    "no key": ({"idempotencyKey": ""}, "idempotencyKey"),
    "card data": ({"paymentMethod": "4111 1111 1111 1111"}, "paymentMethod"),
    "an unknown field": ({"amuont": "1.00"}, "amuont"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_payment_is_refused_and_the_field_named(service: Alone, case: str) -> None:
    change, field = INVALID[case]
    check_problem(service.http.post("/payments", json={**body(), **change}), 422, field)


def test_an_impossible_id_is_refused_at_the_door(service: Alone) -> None:
    check_problem(service.http.get("/payments/a.b"), 422)
    check_problem(service.http.post(f"/payments/{'x' * 65}/refund"), 422)


def test_the_api_describes_itself(service: Alone) -> None:
    paths = service.http.get("/openapi.json").json()["paths"]
    assert {"/payments", "/payments/{payment_id}", "/payments/{payment_id}/refund"} <= paths.keys()
    assert 'saga_published_total{service="payment_service",type="PaymentCompleted"}' in (
        service.http.get("/metrics").text
    )


# The database goes away


async def test_without_the_database_nothing_is_charged(
    till: PaymentDriver, service: Alone, database: DatabaseNode
) -> None:
    settled = till.http.post("/payments", json=body(currency="ZAR")).json()["orderId"]
    in_hand = [request(currency="ZAR") for _ in range(20)]
    by_hand = body(currency="ZAR")
    await asyncio.gather(*(till.tell(asked) for asked in in_hand))
    database.kill()
    try:
        calls = (
            ("POST", "/payments", by_hand),
            ("GET", f"/payments/{settled}", None),
            ("POST", f"/payments/{settled}/refund", None),
            ("GET", "/books", None),
        )
        for answer in await asyncio.gather(
            *(
                asyncio.to_thread(service.http.request, method, path, json=sent)
                for method, path, sent in calls
            )
        ):
            check_problem(answer, 503)
            assert answer.headers["retry-after"]
    finally:
        database.start()
        await asyncio.to_thread(database.wait_ready)
    # An event that is not recorded as published is published again: by a redelivery, or by the sweeper.
    till.once = False
    answers = await till.receive_each(20)
    assert {type(event) for event in answers.values()} == {PaymentCompleted}
    assert answers.keys() == {asked.order_id for asked in in_hand}
    check_problem(till.http.get(f"/payments/{by_hand['orderId']}"), 404)
    assert till.payment(settled)["status"] == "charged"
    assert till.books("ZAR") == ("525.00", "0.00")

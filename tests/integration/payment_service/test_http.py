"""Payments over HTTP, and requests that are rejected."""

import asyncio

import pytest

from events.catalogue import PaymentRefunded
from tests.integration.payment_service.driver import body
from tests.support.payment_driver import PaymentDriver, refund
from tests.support.services import ServiceProcess, check_problem


async def test_a_payment_made_over_http_is_charged_once(payments: PaymentDriver) -> None:
    asked = body(amount=10.5, currency="ISK")
    order_id = asked["orderId"]
    first = payments.http.post("/payments", json=asked)
    assert first.status_code == 202
    assert first.headers["location"] == f"/payments/{order_id}"
    payment = first.json()
    assert (payment["paymentId"], payment["status"], payment["saga"]) == (order_id, "charged", False)
    assert (payment["amount"], payment["currency"]) == ("10.50", "ISK")
    again = payments.http.post("/payments", json={**asked, "amount": "10.50"})
    assert (again.status_code, again.json()) == (202, payment)
    for other in ({"amount": 11}, {"userId": "u-2"}, {"idempotencyKey": "another"}, {"currency": "USD"}):
        check_problem(payments.http.post("/payments", json={**asked, **other}), 409)
    assert payments.payment(str(order_id)) == payment
    assert payments.books("ISK") == ("10.50", "0.00")
    await payments.nothing_came()


async def test_a_payment_requested_many_times_at_once_is_charged_once(payments: PaymentDriver) -> None:
    asked = body(currency="AED", paymentMethod="sim:delay:0.1")
    order_id = str(asked["orderId"])
    answers = await asyncio.gather(
        *(asyncio.to_thread(payments.http.post, "/payments", json=asked) for _ in range(8))
    )
    assert [answer.status_code for answer in answers] == [202] * 8
    await payments.until_it_is(order_id, "charged")
    assert payments.books("AED") == ("25.00", "0.00")
    refunds = await asyncio.gather(
        *(asyncio.to_thread(payments.http.post, f"/payments/{order_id}/refund") for _ in range(8))
    )
    assert [answer.status_code for answer in refunds] == [202] * 8
    await payments.until_it_is(order_id, "refunded")
    assert payments.payment(order_id)["refundAttempt"] == 1
    assert payments.books("AED") == ("25.00", "25.00")
    await payments.nothing_came()


async def test_a_payment_made_over_http_is_declined(payments: PaymentDriver) -> None:
    answer = payments.http.post("/payments", json=body(paymentMethod="sim:decline"))
    assert (answer.status_code, answer.json()["status"]) == (202, "declined")
    check_problem(payments.http.post(f"/payments/{answer.json()['orderId']}/refund"), 409)
    await payments.nothing_came()


async def test_a_payment_made_over_http_is_refunded_once(payments: PaymentDriver) -> None:
    order_id = payments.http.post("/payments", json=body(currency="TRY")).json()["orderId"]
    answers = [payments.http.post(f"/payments/{order_id}/refund") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json()["status"] for answer in answers] == ["refunded", "refunded"]
    assert answers[0].json() == answers[1].json()
    assert payments.books("TRY") == ("25.00", "25.00")
    await payments.nothing_came()


async def test_an_unanswered_direct_payment_is_retried(payments: PaymentDriver) -> None:
    asked = body(paymentMethod="sim:timeout:1")
    first = payments.http.post("/payments", json=asked)
    assert (first.status_code, first.json()["status"]) == (202, "charging")
    check_problem(payments.http.post(f"/payments/{asked['orderId']}/refund"), 409)
    again = payments.http.post("/payments", json=asked)
    assert (again.status_code, again.json()["status"]) == (202, "charged")
    await payments.nothing_came()


async def test_two_orders_with_one_idempotency_key_are_charged_twice(payments: PaymentDriver) -> None:
    first, second = body(), body()
    payments.http.post("/payments", json=first).raise_for_status()
    answer = payments.http.post("/payments", json={**second, "idempotencyKey": first["idempotencyKey"]})
    charges = [payments.payment(str(asked["orderId"])).get("chargeId") for asked in (first, second)]
    assert answer.status_code == 409 or charges[0] != charges[1]
    await payments.nothing_came()


async def test_the_payment_of_a_saga_is_not_refunded_over_http(payments: PaymentDriver) -> None:
    by_event = await payments.charge(currency="MXN")
    joined = payments.http.post("/payments", json=body(currency="MXN")).json()["orderId"]
    await payments.charge(order_id=joined, currency="MXN")
    for order_id in (by_event, joined):
        check_problem(payments.http.post(f"/payments/{order_id}/refund"), 409)
        assert payments.payment(order_id)["status"] == "charged"
    assert payments.books("MXN") == ("50.00", "0.00")


async def test_the_books_are_exact(payments: PaymentDriver) -> None:
    amounts = ["0.1", "0.2", "0.0001", "999.99"]
    orders = [await payments.charge(amount=amount, currency="JPY") for amount in amounts]
    await payments.charge(amount="3.33", currency="KRW")
    await payments.publish_event(refund(orders[0], currency="JPY"))
    await payments.order.receive_a(PaymentRefunded, orders[0])
    assert payments.books("JPY") == ("1000.2901", "0.10")
    assert payments.books("KRW") == ("3.33", "0.00")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/payments/unknown"), ("POST", "/payments/unknown/refund"), ("GET", "/nowhere")],
)
def test_an_unknown_id_is_not_found(service: ServiceProcess, method: str, path: str) -> None:
    check_problem(service.http.request(method, path), 404)


INVALID: dict[str, tuple[dict[str, object], str]] = {
    "no order": ({"orderId": None}, "orderId"),
    "an order id that is too long": ({"orderId": "o" * 65}, "orderId"),
    "a user id with a dot": ({"userId": "a.b"}, "userId"),
    "an amount of zero": ({"amount": "0"}, "amount"),
    "less than zero": ({"amount": -1}, "amount"),
    "an amount that is no number": ({"amount": "much"}, "amount"),
    "too many decimal places": ({"amount": "1.00001"}, "amount"),
    "an invalid currency": ({"currency": "euro"}, "currency"),
    "no key": ({"idempotencyKey": ""}, "idempotencyKey"),
    "card data": ({"paymentMethod": "4111 1111 1111 1111"}, "paymentMethod"),
    "an unknown field": ({"amuont": "1.00"}, "amuont"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_payment_is_rejected_by_field(service: ServiceProcess, case: str) -> None:
    change, field = INVALID[case]
    check_problem(service.http.post("/payments", json={**body(), **change}), 422, field)


def test_a_malformed_id_is_rejected(service: ServiceProcess) -> None:
    check_problem(service.http.get("/payments/a.b"), 422)
    check_problem(service.http.post(f"/payments/{'x' * 65}/refund"), 422)


def test_openapi_and_metrics_are_served(service: ServiceProcess) -> None:
    paths = service.http.get("/openapi.json").json()["paths"]
    assert {"/payments", "/payments/{payment_id}", "/payments/{payment_id}/refund"} <= paths.keys()
    assert 'saga_published_total{service="payment_service",type="PaymentCompleted"}' in (
        service.http.get("/metrics").text
    )

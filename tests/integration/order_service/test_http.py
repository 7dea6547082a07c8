"""Orders over HTTP: repeated requests, invalid ones, and outages."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from events.catalogue import (
    ORDER,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationRequested,
)
from tests.integration.order_service.driver import (
    ORDER_BODY,
    OtherServices,
    place,
    place_and_pay,
    until_it_is,
)
from tests.support.bad_input import BAD_AMOUNTS
from tests.support.broker import Broker
from tests.support.services import ServiceProcess, check_problem, run_service


async def test_the_same_idempotency_key_means_the_same_order(
    service: ServiceProcess, others: OtherServices
) -> None:
    headers = {"Idempotency-Key": f"key-{uuid4().hex}"}
    first = service.http.post("/orders", json=ORDER_BODY, headers=headers)
    await others.inventory.receive_a(InventoryReservationRequested, first.json()["orderId"])
    again = service.http.post("/orders", json={**ORDER_BODY, "totalAmount": 25.0}, headers=headers)
    other = service.http.post("/orders", json={**ORDER_BODY, "totalAmount": "26.00"}, headers=headers)
    assert first.status_code == again.status_code == 202
    assert first.json()["orderId"] == again.json()["orderId"]
    assert first.headers["location"] == f"/orders/{first.json()['orderId']}"
    assert other.status_code == 409


async def test_the_same_order_placed_many_times_at_once_is_one(
    service: ServiceProcess, others: OtherServices
) -> None:
    headers = {"Idempotency-Key": f"key-{uuid4().hex}"}
    answers = await asyncio.gather(
        *(asyncio.to_thread(service.http.post, "/orders", json=ORDER_BODY, headers=headers) for _ in range(8))
    )
    assert [answer.status_code for answer in answers] == [202] * 8
    (order_id,) = {answer.json()["orderId"] for answer in answers}
    await others.inventory.receive_a(InventoryReservationRequested, order_id)


async def test_repeated_cancels_cancel_an_order_once(service: ServiceProcess, others: OtherServices) -> None:
    order_id = await place(service, others)
    answers = await asyncio.gather(
        *(asyncio.to_thread(service.http.post, f"/orders/{order_id}/cancel") for _ in range(4))
    )
    assert [answer.status_code for answer in answers] == [202] * 4
    await others.inventory.receive_a(InventoryReleaseRequested, order_id)
    await others.publish_event(InventoryReleased(order_id=order_id))
    ended = await until_it_is(service, order_id, "cancelled")
    again = service.http.post(f"/orders/{order_id}/cancel")
    assert (again.status_code, again.json()) == (202, ended)


INVALID: dict[str, tuple[dict[str, object], str]] = {
    "no user": ({"userId": None}, "userId"),
    "no items": ({"items": []}, "items"),
    "a quantity of zero": ({"items": [{"productId": "tea", "quantity": 0}]}, "items.0.quantity"),
    "a huge quantity": ({"items": [{"productId": "tea", "quantity": 10**9}]}, "items.0.quantity"),
    "an id with a dot": ({"items": [{"productId": "a.b", "quantity": 1}]}, "items.0.productId"),
    "an id that is too long": ({"userId": "u" * 65}, "userId"),
    "an amount of zero": ({"totalAmount": "0"}, "totalAmount"),
    "an amount that is no number": ({"totalAmount": "much"}, "totalAmount"),
    "too many decimal places": ({"totalAmount": "1.00001"}, "totalAmount"),
    "an unknown field": ({"totalAmuont": "1.00"}, "totalAmuont"),
    "an invalid location": ({"userLocation": {"latitude": 91, "longitude": 0}}, "userLocation.latitude"),
    "a hold of zero seconds": ({"expiresIn": 0}, "expiresIn"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_order_is_rejected_by_field(service: ServiceProcess, case: str) -> None:
    change, field = INVALID[case]
    answer = service.http.post("/orders", json={**ORDER_BODY, **change})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert field in answer.json()["detail"]


@pytest.mark.parametrize("amount", BAD_AMOUNTS, ids=lambda amount: amount[:30])
def test_an_invalid_amount_is_rejected_in_any_notation(service: ServiceProcess, amount: str) -> None:
    body = json.dumps({**ORDER_BODY, "totalAmount": "@"}).replace('"@"', amount)
    answer = service.http.post("/orders", content=body, headers={"content-type": "application/json"})
    check_problem(answer, 422)


def test_a_body_that_is_not_json_is_rejected(service: ServiceProcess) -> None:
    answer = service.http.post("/orders", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/orders/unknown", "/nowhere"])
def test_an_unknown_id_is_not_found(service: ServiceProcess, path: str) -> None:
    answer = service.http.get(path)
    assert answer.status_code == 404
    assert answer.json()["title"] == "Not Found"


def test_a_malformed_id_is_rejected(service: ServiceProcess) -> None:
    assert service.http.get("/orders/a.b").status_code == 422
    assert service.http.post(f"/orders/{'x' * 65}/cancel").status_code == 422


async def test_orders_are_listed_by_status(service: ServiceProcess, others: OtherServices) -> None:
    order_id = await place_and_pay(service, others)
    await others.publish_event(InventoryConfirmed(order_id=order_id))
    await until_it_is(service, order_id, "confirmed")
    confirmed = service.http.get("/orders", params={"status": "confirmed", "limit": 5}).json()["orders"]
    assert {order["status"] for order in confirmed} == {"confirmed"}
    assert service.http.get("/orders", params={"status": "lost"}).status_code == 422


def test_openapi_and_metrics_are_served(service: ServiceProcess) -> None:
    paths = service.http.get("/openapi.json").json()["paths"]
    assert {"/orders", "/orders/{order_id}", "/orders/{order_id}/cancel"} <= paths.keys()
    assert "saga_events_total" in service.http.get("/metrics").text


def test_no_order_is_accepted_without_the_database(package_broker: Broker, tmp_path: Path) -> None:
    nowhere = "mongodb://127.0.0.1:9/?directConnection=true&serverSelectionTimeoutMS=200"
    with run_service(ORDER, package_broker.url, nowhere, tmp_path) as service:
        answer = service.http.post("/orders", json=ORDER_BODY)
        assert answer.status_code == 503
        assert answer.json()["status"] == 503
        readiness = service.http.get("/readyz")
        assert readiness.status_code == 503
        assert any("database" in problem for problem in readiness.json()["problems"])


def test_an_order_is_accepted_without_the_broker(mongodb_url: str, tmp_path: Path) -> None:
    with run_service(ORDER, "amqp://guest:guest@127.0.0.1:9/", mongodb_url, tmp_path) as service:
        answer = service.http.post("/orders", json=ORDER_BODY)
        assert answer.status_code == 202
        assert httpx.codes.is_success(service.http.get(f"/orders/{answer.json()['orderId']}").status_code)
        assert service.http.get("/readyz").status_code == 503

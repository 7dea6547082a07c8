"""The order service on a real broker and database, with inventory and payment played by the test."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from events.catalogue import (
    INVENTORY,
    ORDER,
    PAYMENT,
    InventoryConfirmationFailed,
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationExpired,
    InventoryReservationFailed,
    InventoryReservationRequested,
    InventoryReserved,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentRequested,
)
from events.values import HeldLine, Item
from saga.clock import utc_now
from tests.support.bad_input import BAD_AMOUNTS
from tests.support.broker import Broker, Client, Neighbour, until
from tests.support.services import Alone, alone, check_problem, stand_in_for_others

ITEMS = (Item(product_id="tea", quantity=2),)
ORDER_BODY = {"userId": "u-1", "items": [{"productId": "tea", "quantity": 2}], "totalAmount": "25.00"}


@pytest.fixture(scope="module")
def service(
    module_broker: Broker, mongodb_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Alone]:
    with alone(ORDER, module_broker.url, mongodb_url, tmp_path_factory.mktemp("order")) as service:
        yield service


class Others:
    """Inventory and payment, played by the test."""

    def __init__(self, client: Client, neighbours: dict[str, Neighbour]) -> None:
        self.tell = client.tell
        self.publish = client.publish
        self.depth = client.depth
        self.get = client.get
        self.inventory = neighbours[INVENTORY]
        self.payment = neighbours[PAYMENT]

    async def reserve(self, order_id: str, amount: str = "25.00") -> None:
        """Say that inventory holds what was ordered."""
        line = HeldLine(reservation_id=order_id, product_id="tea", warehouse_id="w-1", quantity=2)
        await self.tell(
            InventoryReserved(
                order_id=order_id,
                user_id="u-1",
                items=ITEMS,
                total_amount=Decimal(amount),
                currency="USD",
                reservations=(line,),
                expires_at=utc_now(),
            )
        )

    async def pay(self, order_id: str, amount: str = "25.00") -> None:
        """Say that the customer was charged."""
        await self.tell(
            PaymentCompleted(order_id=order_id, payment_id=order_id, amount=Decimal(amount), currency="USD")
        )

    async def refund(self, order_id: str, amount: str) -> None:
        """Say that the customer was paid back."""
        await self.tell(PaymentRefunded(order_id=order_id, amount=Decimal(amount), currency="USD"))


@pytest.fixture
async def others(module_broker: Broker, service: Alone) -> AsyncIterator[Others]:
    async with module_broker.connected() as client:
        neighbours = await stand_in_for_others(client, ORDER)
        service.wait_ready()
        yield Others(client, neighbours)
        for queue in (INVENTORY, PAYMENT):
            assert await client.depth(queue) == 0, f"an event for {queue} that the test did not expect"


async def place(service: Alone, others: Others, **fields: object) -> str:
    """Place an order, and see that inventory is asked for its stock."""
    answer = service.http.post("/orders", json={**ORDER_BODY, **fields})
    assert answer.status_code == 202, answer.text
    order_id: str = answer.json()["orderId"]
    await others.inventory.receive_a(InventoryReservationRequested, order_id)
    return order_id


async def place_and_reserve(service: Alone, others: Others) -> str:
    order_id = await place(service, others)
    await others.reserve(order_id)
    await others.payment.receive_a(PaymentRequested, order_id)
    return order_id


async def place_and_pay(service: Alone, others: Others) -> str:
    order_id = await place_and_reserve(service, others)
    await others.pay(order_id)
    await others.inventory.receive_a(InventoryConfirmationRequested, order_id)
    return order_id


async def until_it_is(service: Alone, order_id: str, status: str) -> dict[str, object]:
    """Wait until an order has a status; return it."""

    def there() -> bool:
        return bool(service.http.get(f"/orders/{order_id}").json().get("status") == status)

    await until(there, f"{order_id} is {status}")
    order: dict[str, object] = service.http.get(f"/orders/{order_id}").json()
    return order


async def test_an_order_is_confirmed(service: Alone, others: Others) -> None:
    order_id = await place(service, others, paymentMethod="sim:approve")
    await others.reserve(order_id)
    asked = await others.payment.receive_a(PaymentRequested, order_id)
    assert (asked.amount, asked.currency, asked.user_id) == (Decimal("25.00"), "USD", "u-1")
    assert asked.idempotency_key == f"order-{order_id}"
    assert asked.payment_method == "sim:approve"
    await others.pay(order_id)
    await others.inventory.receive_a(InventoryConfirmationRequested, order_id)
    await others.tell(InventoryConfirmed(order_id=order_id))
    order = service.http.get(f"/orders/{order_id}", params={"wait": 10}).json()
    assert order["status"] == "confirmed"
    assert order["totalAmount"] == "25.00"
    assert order["awaiting"] == []


async def test_an_order_without_stock_fails(service: Alone, others: Others) -> None:
    order_id = await place(service, others)
    await others.tell(
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


async def test_a_declined_payment_releases_the_stock(service: Alone, others: Others) -> None:
    order_id = await place_and_reserve(service, others)
    await others.tell(PaymentFailed(order_id=order_id, reason="declined"))
    await others.inventory.receive_a(InventoryReleaseRequested, order_id)
    assert (await until_it_is(service, order_id, "compensating"))["awaiting"] == ["release"]
    await others.tell(InventoryReleased(order_id=order_id))
    assert (await until_it_is(service, order_id, "failed"))["reason"] == "declined"


async def test_a_cancelled_order_is_released_and_refunded(service: Alone, others: Others) -> None:
    order_id = await place_and_reserve(service, others)
    assert service.http.post(f"/orders/{order_id}/cancel").status_code == 202
    assert service.http.post(f"/orders/{order_id}/cancel").status_code == 202
    await others.inventory.receive_a(InventoryReleaseRequested, order_id)
    await others.payment.receive_a(PaymentRefundRequested, order_id)
    await others.refund(order_id, "0")
    await others.tell(InventoryReleased(order_id=order_id))
    await until_it_is(service, order_id, "cancelled")


async def test_a_paid_order_cannot_be_cancelled(service: Alone, others: Others) -> None:
    order_id = await place_and_pay(service, others)
    explain_rejection = service.http.post(f"/orders/{order_id}/cancel")
    assert explain_rejection.status_code == 409
    assert explain_rejection.headers["content-type"] == "application/problem+json"
    assert "paid" in explain_rejection.json()["detail"]


async def test_a_payment_that_comes_after_the_hold_expired_is_refunded(
    service: Alone, others: Others
) -> None:
    order_id = await place_and_reserve(service, others)
    await others.tell(InventoryReservationExpired(order_id=order_id))
    assert (await until_it_is(service, order_id, "compensating"))["awaiting"] == ["payment"]
    await others.pay(order_id)
    await others.payment.receive_a(PaymentRefundRequested, order_id)
    await others.refund(order_id, "25.00")
    assert (await until_it_is(service, order_id, "failed"))["reason"] == "reservation_expired"


async def test_a_paid_order_without_stock_is_refunded_by_an_operator(service: Alone, others: Others) -> None:
    order_id = await place_and_pay(service, others)
    await others.tell(InventoryConfirmationFailed(order_id=order_id, reason="reservation_expired"))
    await others.payment.receive_a(PaymentRefundRequested, order_id)
    await others.tell(
        PaymentRefundFailed(order_id=order_id, reason="refused", attempts=1, payment_id=order_id)
    )
    await until_it_is(service, order_id, "refundPending")
    await others.refund(order_id, "25.00")
    await until_it_is(service, order_id, "failed")


async def test_an_order_is_adopted_from_a_request_published_manually(
    service: Alone, others: Others, module_broker: Broker
) -> None:
    payload = (
        '{"type":"InventoryReservationRequested","orderId":"by-hand-1","userId":"u-1",'
        '"items":[{"productId":"tea","quantity":2}],"totalAmount":25}'
    )
    for _ in range(2):
        assert module_broker.publish_manually("order.events", "InventoryReservationRequested", payload)
        await others.inventory.receive_a(InventoryReservationRequested, "by-hand-1")
    await until_it_is(service, "by-hand-1", "pending")
    await others.reserve("by-hand-1")
    await others.payment.receive_a(PaymentRequested, "by-hand-1")


async def test_an_order_is_adopted_from_inventorys_answer(service: Alone, others: Others) -> None:
    await others.reserve("unheard-of")
    await others.payment.receive_a(PaymentRequested, "unheard-of")
    await until_it_is(service, "unheard-of", "reserved")


async def test_stock_held_for_another_request_is_released(service: Alone, others: Others) -> None:
    order_id = await place(service, others)
    await others.reserve(order_id, amount="1.00")
    await others.inventory.receive_a(InventoryReleaseRequested, order_id)
    assert (await until_it_is(service, order_id, "compensating"))["reason"] == "conflicting_request"


async def test_a_fact_about_an_order_that_comes_before_it_waits(service: Alone, others: Others) -> None:
    order_id = uuid4().hex
    await others.tell(InventoryReservationExpired(order_id=order_id))
    await until(
        lambda: f'type="{InventoryReservationExpired.__name__}"' in _retries(service), "the fact is put off"
    )
    await others.reserve(order_id)
    await others.payment.receive_a(PaymentRequested, order_id)
    assert (await until_it_is(service, order_id, "compensating"))["reason"] == "reservation_expired"


def _retries(service: Alone) -> str:
    lines = service.http.get("/metrics").text.splitlines()
    return "\n".join(line for line in lines if line.startswith("saga_retries_total"))


async def test_a_bad_message_is_dead_lettered_and_the_service_goes_on(service: Alone, others: Others) -> None:
    bad = b'{"type":"InventoryConfirmed","orderId":"no spaces allowed"}'
    await others.publish("inventory.events", "InventoryConfirmed", bad)
    dead = await others.get("order_service.dead")
    await dead.ack()
    assert "orderId" in str(dead.headers["x-saga-reason"])
    await place(service, others)


async def test_the_same_idempotency_key_means_the_same_order(service: Alone, others: Others) -> None:
    headers = {"Idempotency-Key": f"key-{uuid4().hex}"}
    first = service.http.post("/orders", json=ORDER_BODY, headers=headers)
    await others.inventory.receive_a(InventoryReservationRequested, first.json()["orderId"])
    again = service.http.post("/orders", json={**ORDER_BODY, "totalAmount": 25.0}, headers=headers)
    other = service.http.post("/orders", json={**ORDER_BODY, "totalAmount": "26.00"}, headers=headers)
    assert first.status_code == again.status_code == 202
    assert first.json()["orderId"] == again.json()["orderId"]
    assert first.headers["location"] == f"/orders/{first.json()['orderId']}"
    assert other.status_code == 409


async def test_the_same_order_placed_many_times_at_once_is_one(service: Alone, others: Others) -> None:
    headers = {"Idempotency-Key": f"key-{uuid4().hex}"}
    answers = await asyncio.gather(
        *(asyncio.to_thread(service.http.post, "/orders", json=ORDER_BODY, headers=headers) for _ in range(8))
    )
    assert [answer.status_code for answer in answers] == [202] * 8
    (order_id,) = {answer.json()["orderId"] for answer in answers}
    await others.inventory.receive_a(InventoryReservationRequested, order_id)


async def test_repeated_cancels_cancel_an_order_once(service: Alone, others: Others) -> None:
    order_id = await place(service, others)
    answers = await asyncio.gather(
        *(asyncio.to_thread(service.http.post, f"/orders/{order_id}/cancel") for _ in range(4))
    )
    assert [answer.status_code for answer in answers] == [202] * 4
    await others.inventory.receive_a(InventoryReleaseRequested, order_id)
    await others.tell(InventoryReleased(order_id=order_id))
    ended = await until_it_is(service, order_id, "cancelled")
    again = service.http.post(f"/orders/{order_id}/cancel")
    assert (again.status_code, again.json()) == (202, ended)


INVALID: dict[str, tuple[dict[str, object], str]] = {
    "no user": ({"userId": None}, "userId"),
    "no items": ({"items": []}, "items"),
    "a quantity of nothing": ({"items": [{"productId": "tea", "quantity": 0}]}, "items.0.quantity"),
    "a huge quantity": ({"items": [{"productId": "tea", "quantity": 10**9}]}, "items.0.quantity"),
    "an id with a dot": ({"items": [{"productId": "a.b", "quantity": 1}]}, "items.0.productId"),
    "an id that is too long": ({"userId": "u" * 65}, "userId"),
    "no money": ({"totalAmount": "0"}, "totalAmount"),
    "money that is no number": ({"totalAmount": "much"}, "totalAmount"),
    "money too fine": ({"totalAmount": "1.00001"}, "totalAmount"),
    "an unknown field": ({"totalAmuont": "1.00"}, "totalAmuont"),
    "a place that is none": ({"userLocation": {"latitude": 91, "longitude": 0}}, "userLocation.latitude"),
    "a hold of no time": ({"expiresIn": 0}, "expiresIn"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_body_is_refused_and_the_field_named(service: Alone, case: str) -> None:
    change, field = INVALID[case]
    answer = service.http.post("/orders", json={**ORDER_BODY, **change})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert field in answer.json()["detail"]


@pytest.mark.parametrize("amount", BAD_AMOUNTS, ids=lambda amount: amount[:30])
def test_money_that_is_none_is_refused_however_it_is_written(service: Alone, amount: str) -> None:
    body = json.dumps({**ORDER_BODY, "totalAmount": "@"}).replace('"@"', amount)
    answer = service.http.post("/orders", content=body, headers={"content-type": "application/json"})
    check_problem(answer, 422)


def test_a_body_that_is_no_json_is_refused(service: Alone) -> None:
    answer = service.http.post("/orders", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/orders/unknown-id", "/nowhere"])
def test_an_unknown_id_is_not_found(service: Alone, path: str) -> None:
    answer = service.http.get(path)
    assert answer.status_code == 404
    assert answer.json()["title"] == "Not Found"


def test_an_impossible_id_is_refused_at_the_door(service: Alone) -> None:
    assert service.http.get("/orders/a.b").status_code == 422
    assert service.http.post(f"/orders/{'x' * 65}/cancel").status_code == 422


def test_orders_are_listed_by_status(service: Alone) -> None:
    confirmed = service.http.get("/orders", params={"status": "confirmed", "limit": 5}).json()["orders"]
    assert {order["status"] for order in confirmed} == {"confirmed"}
    assert service.http.get("/orders", params={"status": "lost"}).status_code == 422


def test_the_api_describes_itself(service: Alone) -> None:
    paths = service.http.get("/openapi.json").json()["paths"]
    assert {"/orders", "/orders/{order_id}", "/orders/{order_id}/cancel"} <= paths.keys()
    assert "saga_events_total" in service.http.get("/metrics").text


def test_no_order_is_accepted_without_the_database(module_broker: Broker, tmp_path: Path) -> None:
    nowhere = "mongodb://127.0.0.1:9/?directConnection=true&serverSelectionTimeoutMS=200"
    with alone(ORDER, module_broker.url, nowhere, tmp_path) as service:
        answer = service.http.post("/orders", json=ORDER_BODY)
        assert answer.status_code == 503
        assert answer.json()["status"] == 503
        readiness = service.http.get("/readyz")
        assert readiness.status_code == 503
        assert any("database" in problem for problem in readiness.json()["problems"])


def test_an_order_is_accepted_without_the_broker(mongodb_url: str, tmp_path: Path) -> None:
    with alone(ORDER, "amqp://guest:guest@127.0.0.1:9/", mongodb_url, tmp_path) as service:
        answer = service.http.post("/orders", json=ORDER_BODY)
        assert answer.status_code == 202
        assert httpx.codes.is_success(service.http.get(f"/orders/{answer.json()['orderId']}").status_code)
        assert service.http.get("/readyz").status_code == 503


async def test_a_nudged_order_asks_again_under_the_same_id(service: Alone, others: Others) -> None:
    order_id = await place_and_reserve(service, others)
    answer = service.http.post(f"/orders/{order_id}/nudge")
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"published": [{"orderId": order_id, "type": "PaymentRequested"}]}
    asked = await others.payment.receive_a(PaymentRequested, order_id)
    service.http.post(f"/orders/{order_id}/nudge")
    assert await others.payment.receive_a(PaymentRequested, order_id) == asked
    await others.tell(PaymentFailed(order_id=order_id, reason="declined"))
    await others.inventory.receive_a(InventoryReleaseRequested, order_id)
    await others.tell(InventoryReleased(order_id=order_id))
    await until_it_is(service, order_id, "failed")
    assert service.http.post(f"/orders/{order_id}/nudge").json() == {"published": []}


async def test_a_nudge_of_all_orders_repeats_each_unanswered_request(service: Alone, others: Others) -> None:
    waiting = {await place(service, others), await place(service, others)}
    published = service.http.post("/nudge").json()["published"]
    assert waiting <= {question["orderId"] for question in published}
    for question in published:
        asked = others.payment if question["type"].startswith("Payment") else others.inventory
        await asked.receive()


def test_a_nudge_of_an_unknown_order_is_not_found(service: Alone) -> None:
    assert service.http.post("/orders/unknown-id/nudge").status_code == 404


async def test_an_order_that_gets_no_answer_asks_again_by_itself(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    with alone(ORDER, broker.url, mongodb_url, tmp_path, nudge_after="0.5") as service:
        async with broker.connected() as client:
            others = Others(client, await stand_in_for_others(client, ORDER))
            service.wait_ready()
            order_id = await place(service, others)
            first = await others.inventory.receive_a(InventoryReservationRequested, order_id)
            assert await others.inventory.receive_a(InventoryReservationRequested, order_id) == first

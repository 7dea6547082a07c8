"""Dead letters of order and payment: what a dry run says of them, and the saga that a replay ends."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from events.catalogue import (
    INVENTORY,
    ORDER,
    PAYMENT,
    Event,
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReserved,
    PaymentCompleted,
    PaymentRefunded,
    PaymentRefundRequested,
    PaymentRequested,
)
from events.identity import with_defaults
from saga.clock import utc_now
from tests.support.broker import Broker, until
from tests.support.dead_letters import Commands, dead_letter, until_dead
from tests.support.services import TOPOLOGIES, run_service, stand_in_for_others

MONEY: dict[str, Any] = {"amount": Decimal("25.00"), "currency": "USD"}
E = TypeVar("E", bound=Event)


def about(order_id: str, kind: type[E], **fields: Any) -> E:
    return with_defaults(kind.model_validate({"order_id": order_id, **fields}), utc_now())


def reserved(order_id: str) -> InventoryReserved:
    line = {"reservation_id": order_id, "product_id": "tea", "warehouse_id": "w-1", "quantity": 2}
    return about(
        order_id,
        InventoryReserved,
        user_id="u-1",
        items=[{"product_id": "tea", "quantity": 2}],
        total_amount=MONEY["amount"],
        currency="USD",
        reservations=[line],
        expires_at=utc_now(),
    )


async def test_replayed_in_order_the_events_of_an_order_end_its_saga(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    order_id, topology = uuid4().hex, TOPOLOGIES[ORDER]
    paid = about(order_id, PaymentCompleted, payment_id="p-1", **MONEY)
    saga = Commands(broker.url, mongodb_url, database := uuid4().hex, tmp_path)
    async with broker.connected() as client:
        with run_service(ORDER, broker.url, mongodb_url, tmp_path, database=database) as service:
            others = await stand_in_for_others(client, ORDER)
            service.wait_ready()
            await client.publish_event(paid)
            await until_dead(client, topology, 1)
            for event in (reserved(order_id), paid):
                await dead_letter(client, topology, event)
            assert await saga.previews("order") == [
                ("waits", None, None, []),
                ("runs", None, "reserved", ["PaymentRequested"]),
                ("runs", "reserved", "paid", ["InventoryConfirmationRequested"]),
            ]
            assert service.http.get(f"/orders/{order_id}").status_code == 404
            # The one that waits comes back from its pause when the others have been handled.
            await saga("replay", "--service", "order")
            await others[PAYMENT].receive_a(PaymentRequested, order_id)
            await others[INVENTORY].receive_a(InventoryConfirmationRequested, order_id)
            await client.publish_event(about(order_id, InventoryConfirmed, reservations=[]))
            await until(lambda: status(service.http, order_id) == "confirmed", "the order is confirmed")
            await until_dead(client, topology, 0)


async def test_a_replayed_payment_is_carried_out_once(
    broker: Broker, mongodb_url: str, tmp_path: Path
) -> None:
    order_id, topology = uuid4().hex, TOPOLOGIES[PAYMENT]
    asked = about(order_id, PaymentRequested, user_id="u-1", idempotency_key=f"order-{order_id}", **MONEY)
    refund = about(order_id, PaymentRefundRequested, reason="cancelled", **MONEY)
    saga = Commands(broker.url, mongodb_url, database := uuid4().hex, tmp_path)
    async with broker.connected() as client:
        with run_service(PAYMENT, broker.url, mongodb_url, tmp_path, database=database) as service:
            order = (await stand_in_for_others(client, PAYMENT))[ORDER]
            service.wait_ready()

            async def put_all_away(events: Sequence[Event]) -> None:
                for event in events:
                    await dead_letter(client, topology, event)

            await put_all_away([asked])
            assert await saga.previews("payment") == [("runs", None, "charging", [])]
            said = (await saga("replay", "--service", "payment", "--dry-run")).stdout
            assert "would run: unknown -> charging, then asks the provider\n" in said
            await saga("replay", "--service", "payment")
            completed = await order.receive_a(PaymentCompleted, order_id)

            await put_all_away([asked, refund])
            assert await saga.previews("payment") == [
                ("repeats", "charged", "charged", ["PaymentCompleted"]),
                ("runs", "charged", "refunding", []),
            ]
            await saga("replay", "--service", "payment")
            answers = [await order.receive(), await order.receive()]
            assert completed in answers
            assert [type(event) for event in answers if event != completed] == [PaymentRefunded]
            (row,) = service.http.get("/books").json()["books"]
            assert (row["charged"], row["refunded"]) == ("25.00", "25.00")


def status(http: Any, order_id: str) -> str:
    return str(http.get(f"/orders/{order_id}").json().get("status"))

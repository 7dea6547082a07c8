"""Inventory and payment, played by the tests of the order service."""

from decimal import Decimal

from events.catalogue import (
    INVENTORY,
    PAYMENT,
    InventoryConfirmationRequested,
    InventoryReservationRequested,
    InventoryReserved,
    PaymentCompleted,
    PaymentRefunded,
    PaymentRequested,
)
from events.values import HeldLine, Item
from saga.clock import utc_now
from tests.support.broker import Client, Neighbour, until
from tests.support.services import ServiceProcess

ITEMS = (Item(product_id="tea", quantity=2),)
ORDER_BODY = {"userId": "u-1", "items": [{"productId": "tea", "quantity": 2}], "totalAmount": "25.00"}


class OtherServices:
    """Inventory and payment, played by the test."""

    def __init__(self, client: Client, neighbours: dict[str, Neighbour]) -> None:
        self.publish_event = client.publish_event
        self.publish = client.publish
        self.depth = client.depth
        self.get = client.get
        self.inventory = neighbours[INVENTORY]
        self.payment = neighbours[PAYMENT]

    async def reserve(self, order_id: str, amount: str = "25.00") -> None:
        """Say that inventory holds what was ordered."""
        line = HeldLine(reservation_id=order_id, product_id="tea", warehouse_id="w-1", quantity=2)
        await self.publish_event(
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
        await self.publish_event(
            PaymentCompleted(order_id=order_id, payment_id=order_id, amount=Decimal(amount), currency="USD")
        )

    async def refund(self, order_id: str, amount: str) -> None:
        """Say that the customer was refunded."""
        await self.publish_event(PaymentRefunded(order_id=order_id, amount=Decimal(amount), currency="USD"))


async def place(service: ServiceProcess, others: OtherServices, **fields: object) -> str:
    """Place an order, and see that inventory is asked for its stock."""
    answer = service.http.post("/orders", json={**ORDER_BODY, **fields})
    assert answer.status_code == 202, answer.text
    order_id: str = answer.json()["orderId"]
    await others.inventory.receive_a(InventoryReservationRequested, order_id)
    return order_id


async def place_and_reserve(service: ServiceProcess, others: OtherServices) -> str:
    order_id = await place(service, others)
    await others.reserve(order_id)
    await others.payment.receive_a(PaymentRequested, order_id)
    return order_id


async def place_and_pay(service: ServiceProcess, others: OtherServices) -> str:
    order_id = await place_and_reserve(service, others)
    await others.pay(order_id)
    await others.inventory.receive_a(InventoryConfirmationRequested, order_id)
    return order_id


async def until_it_is(service: ServiceProcess, order_id: str, status: str) -> dict[str, object]:
    """Wait until an order has a status; return it."""

    def there() -> bool:
        return bool(service.http.get(f"/orders/{order_id}").json().get("status") == status)

    await until(there, f"{order_id} is {status}")
    order: dict[str, object] = service.http.get(f"/orders/{order_id}").json()
    return order

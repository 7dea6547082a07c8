"""Events and aggregates for the tests, complete but for what a test says itself."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from events.catalogue import EVENT_TYPES, Event
from events.values import HeldLine, Item, Location
from inventory_service.context import ReservationContext
from inventory_service.reservation import Reservation
from inventory_service.stock import Stock, Warehouse
from order_service.order import Order
from payment_service.payment import Payment

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
HOLD = timedelta(minutes=10)
PRICE = Decimal("25.00")
ITEMS = (Item(product_id="tea", quantity=2),)
LINES = (HeldLine(reservation_id="o-1", product_id="tea", warehouse_id="berlin", quantity=2),)

FIELDS: dict[str, dict[str, Any]] = {
    "InventoryReservationRequested": {"userId": "u-1", "items": ITEMS, "totalAmount": PRICE},
    "InventoryReserved": {
        "userId": "u-1",
        "items": ITEMS,
        "totalAmount": PRICE,
        "currency": "USD",
        "reservations": LINES,
        "expiresAt": LATER,
    },
    "InventoryReservationFailed": {
        "userId": "u-1",
        "items": ITEMS,
        "totalAmount": PRICE,
        "currency": "USD",
        "reason": "insufficient_stock",
    },
    "PaymentRequested": {"userId": "u-1", "amount": PRICE, "idempotencyKey": "order-o-1"},
    "PaymentCompleted": {"paymentId": "p-1", "amount": PRICE, "currency": "USD"},
    "PaymentFailed": {"reason": "declined"},
    "InventoryConfirmationRequested": {},
    "InventoryConfirmed": {"reservations": LINES},
    "InventoryConfirmationFailed": {"reason": "reservation_expired"},
    "InventoryReleaseRequested": {"reason": "cancelled"},
    "InventoryReleased": {"reservations": LINES},
    "InventoryReservationExpired": {"reservations": LINES},
    "PaymentRefundRequested": {"amount": PRICE, "currency": "USD", "reason": "cancelled"},
    "PaymentRefunded": {"amount": PRICE, "currency": "USD"},
    "PaymentRefundFailed": {"reason": "refused", "attempts": 1, "paymentId": "p-1"},
    "OrderCreated": {
        "userId": "u-1",
        "items": ITEMS,
        "totalAmount": PRICE,
        "currency": "USD",
        "paymentId": "p-1",
    },
    "OrderFailed": {"userId": "u-1", "reason": "cancelled", "status": "cancelled"},
}
"""What each type of event has in addition to the common fields."""


def event(kind: type[Event], event_id: str | None = None, **changes: Any) -> Any:
    """Return an event of order o-1 as a service receives it; `changes` are fields by their Python names."""
    complete = kind.model_validate(
        {
            **FIELDS[kind.__name__],
            "eventId": event_id or f"e-{kind.__name__}",
            "correlationId": "c-1",
            "occurredAt": NOW,
            "orderId": "o-1",
        }
    )
    return complete.model_copy(update=changes)


def every_event() -> list[Event]:
    """Return one event of each type."""
    return [event(kind) for kind in EVENT_TYPES.values()]


def order(**changes: Any) -> Order:
    """Return order o-1, pending."""
    pending = Order(
        order_id="o-1",
        correlation_id="c-1",
        user_id="u-1",
        items=ITEMS,
        total_amount=PRICE,
        currency="USD",
        created_at=NOW,
        deadline=LATER,
    )
    return pending.model_copy(update=changes)


def reservation(**changes: Any) -> Reservation:
    """Return the reservation of order o-1, held for a saga."""
    held = Reservation(
        order_id="o-1",
        correlation_id="c-1",
        status="held",
        user_id="u-1",
        items=ITEMS,
        total_amount=PRICE,
        currency="USD",
        lines=LINES,
        expires_at=LATER,
        request_record="e-request",
    )
    return held.model_copy(update=changes)


def payment(**changes: Any) -> Payment:
    """Return the payment of order o-1, whose provider is being asked."""
    charging = Payment(
        order_id="o-1",
        correlation_id="c-1",
        status="charging",
        user_id="u-1",
        amount=PRICE,
        currency="USD",
        idempotency_key="order-o-1",
        refunded_amount=0,
        request_record="e-request",
        next_attempt_at=NOW,
    )
    return charging.model_copy(update=changes)


BERLIN = Location(latitude=52.52, longitude=13.405)
PARIS = Location(latitude=48.8566, longitude=2.3522)
TOKYO = Location(latitude=35.6762, longitude=139.6503)
WAREHOUSES = {
    name: Warehouse(warehouse_id=name, location=place)
    for name, place in (("berlin", BERLIN), ("paris", PARIS), ("tokyo", TOKYO))
}


def stock(**tea: int) -> Stock:
    """Return stock with so much tea at each of the named warehouses: `stock(berlin=5, paris=2)`."""
    return Stock(available={(name, "tea"): units for name, units in tea.items()}, warehouses=WAREHOUSES)


def context(now: datetime = NOW, **tea: int) -> ReservationContext:
    """Return what inventory's reactions look at, with so much tea at each warehouse (10 in Berlin)."""
    return ReservationContext(stock=stock(**(tea or {"berlin": 10})), now=now, default_hold=HOLD)

"""Cases as the audit reads them: sound ones, and the parts to break them with."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from inventory_service.reservation import Reservation
from order_service.order import Order
from payment_service.payment import Payment
from tests.support.builders import ITEMS, LINES, NOW, PRICE
from verification.invariants.case import Case, Snapshot
from verification.invariants.names import Timing

LONG_AGO = NOW - timedelta(hours=1)
AT_REST = Timing(NOW, at_rest=True)
RUNNING = Timing(NOW)
Document = dict[str, Any]


def event(kind: str, number: int = 1, **fields: Any) -> Document:
    """Return an event as a journal keeps it."""
    return {"type": kind, "eventId": f"{kind}-{number}", "orderId": "o-1", **fields}


def order(status: str = "confirmed", *emitted: Document, **fields: Any) -> Snapshot[Order]:
    state: Document = {
        "orderId": "o-1",
        "correlationId": "o-1",
        "status": status,
        "userId": "u-1",
        "items": ITEMS,
    }
    state |= {"totalAmount": PRICE, "currency": "USD", "createdAt": LONG_AGO, "deadline": LONG_AGO, **fields}
    return Snapshot(Order.model_validate(state), LONG_AGO, emitted)


def reservation(status: str = "allocated", *emitted: Document, **fields: Any) -> Snapshot[Reservation]:
    state: Document = {
        "orderId": "o-1",
        "correlationId": "o-1",
        "status": status,
        "items": ITEMS,
        "lines": LINES,
    }
    under = {"allocated": {"confirmationRecord": "e-1"}, "released": {"releaseRecord": "e-1"}}.get(status, {})
    return Snapshot(Reservation.model_validate({**state, **under, **fields}), LONG_AGO, emitted)


def payment(status: str = "charged", *emitted: Document, **fields: Any) -> Snapshot[Payment]:
    state: Document = {
        "orderId": "o-1",
        "correlationId": "o-1",
        "status": status,
        "amount": PRICE,
        "currency": "USD",
    }
    charged = {} if status in ("void", "declined", "charging") else {"chargeId": "ch-1"}
    back = PRICE if status == "refunded" else Decimal(0)
    state |= {"idempotencyKey": "order-o-1", "refundedAmount": back, **charged, **fields}
    return Snapshot(Payment.model_validate(state), LONG_AGO, emitted)


CREATED = event("OrderCreated")
FAILED = event("OrderFailed", status="failed")
CANCELLED = event("OrderFailed", status="cancelled")

CONFIRMED = Case(
    "o-1",
    order("confirmed", CREATED),
    reservation("allocated", event("InventoryConfirmed")),
    payment("charged", event("PaymentCompleted")),
)
RELEASED = Case("o-1", order("cancelled", CANCELLED), reservation("released"), payment("refunded"))
REJECTED = Case("o-1", order("failed", FAILED), reservation("rejected", lines=()))
UNREFUNDED = Case("o-1", order("refundPending"), reservation("released"), payment("refundFailed"))
LATE_APPROVAL = Case("o-1", order("failed", FAILED), reservation("released"), payment("refundFailed"))
DIRECT = Case("o-1", None, reservation(saga=False, confirmationRecord=None), payment(saga=False))
ALLOCATED_DIRECTLY = Case("o-1", order("failed", FAILED), reservation("allocated", confirmationRecord=None))
VOID = Case("o-1", order("cancelled", CANCELLED), reservation("released", lines=()), payment("void"))

SOUND = {
    "confirmed": CONFIRMED,
    "released": RELEASED,
    "rejected": REJECTED,
    "awaiting manual refund": UNREFUNDED,
    "late approval": LATE_APPROVAL,
    "direct": DIRECT,
    "allocated directly": ALLOCATED_DIRECTLY,
    "void": VOID,
}

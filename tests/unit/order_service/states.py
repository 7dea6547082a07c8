"""Orders in every state, and how the tests let one react."""

from datetime import datetime
from typing import Any

from events.catalogue import Event
from order_service.order import Order
from order_service.reactions import REACTIONS
from saga.reactions.reaction import Reaction, Transition
from tests.support.builders import NOW, event, order

PENDING = order()
RESERVED = order(status="reserved", payment="awaited")
PAID = order(status="paid", payment="completed", payment_id="p-1")
CONFIRMED = order(status="confirmed", payment="completed", payment_id="p-1")
FAILED = order(status="failed", reason="insufficient_stock")
CANCELLED = order(status="cancelled", reason="cancelled", ends_as="cancelled", release="settled")


def compensating(**changes: Any) -> Order:
    return order(**{"status": "compensating", "reason": "why", **changes})


AWAITS_RELEASE = compensating(release="awaited")
AWAITS_PAYMENT = compensating(payment="awaited")
AWAITS_REFUND = compensating(payment="completed", payment_id="p-1", refund="awaited")
AWAITS_ALL = compensating(release="awaited", refund="awaited", payment="awaited")
AWAITING_MANUAL_REFUND = {"status": "refundPending", "refund_failure": "refused"}
REFUND_PENDING = AWAITS_REFUND.model_copy(update=AWAITING_MANUAL_REFUND)
REFUND_PENDING_AND_ALL = AWAITS_ALL.model_copy(update=AWAITING_MANUAL_REFUND)
STATES = {
    "pending": PENDING,
    "reserved": RESERVED,
    "paid": PAID,
    "confirmed": CONFIRMED,
    "failed": FAILED,
    "cancelled": CANCELLED,
    "awaits release": AWAITS_RELEASE,
    "awaits payment": AWAITS_PAYMENT,
    "awaits refund": AWAITS_REFUND,
    "awaits all": AWAITS_ALL,
    "refundPending": REFUND_PENDING,
    "refundPending, awaits all": REFUND_PENDING_AND_ALL,
}


def react(before: Order | None, kind: type[Event], **changes: Any) -> Reaction[Order]:
    received = event(kind, **changes)
    return REACTIONS[kind](before, received, NOW)


def execute(
    transition: Transition[Order, datetime], before: Order | None, now: datetime = NOW
) -> Reaction[Order]:
    return transition(before, now)

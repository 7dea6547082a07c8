"""The order aggregate: what the order service knows about one order."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, Self

from events.catalogue import (
    Event,
    InventoryConfirmationRequested,
    InventoryReleaseRequested,
    InventoryReservationRequested,
    InventoryReserved,
    OrderFailure,
    PaymentRefundRequested,
    PaymentRequested,
)
from events.types import Id, Money, PaymentMethod, Reason, Timestamp
from events.values import DEFAULT_HOLD, Item, Items, Location
from saga.reactions.aggregate import Aggregate, Listing

OrderStatus = Literal[
    "pending", "reserved", "paid", "confirmed", "compensating", "refundPending", "failed", "cancelled"
]
TERMINAL: tuple[OrderStatus, ...] = ("confirmed", "failed", "cancelled")

CompensationState = Literal["none", "awaited", "settled"]
"""Whether a compensation was requested, and answered."""
PaymentState = Literal["none", "awaited", "completed", "failed"]
"""Whether the payment was requested, and answered."""

GRACE = timedelta(minutes=5)
"""How long an order may stay undecided after its hold has ended."""


class Order(Aggregate):
    """One order. While it is compensating, `release`, `refund` and `payment` say which answers it awaits."""

    status: OrderStatus = "pending"
    user_id: Id
    items: Items
    total_amount: Money
    currency: str
    payment_method: PaymentMethod | None = None
    user_location: Location | None = None
    expires_in: int | None = None
    payment_id: Id | None = None
    reason: Reason | None = None
    refund_failure: Reason | None = None
    """Why the provider refuses the refund that the order waits for."""
    ends_as: OrderFailure = "failed"
    release: CompensationState = "none"
    refund: CompensationState = "none"
    payment: PaymentState = "none"
    created_at: Timestamp
    deadline: Timestamp
    request: InventoryReservationRequested | None = None
    """The request this order was adopted from: an event that another client published, and that this service
    publishes only to repeat it."""

    @classmethod
    def from_request(cls, request: InventoryReservationRequested, now: datetime) -> Self:
        """Return a new order for what a reservation request asks for."""
        hold = timedelta(seconds=request.expires_in) if request.expires_in else DEFAULT_HOLD
        return cls(
            order_id=request.order_id,
            correlation_id=request.correlation_id or request.order_id,
            user_id=request.user_id,
            items=request.items,
            total_amount=request.total_amount,
            currency=request.currency,
            payment_method=request.payment_method,
            user_location=request.user_location,
            expires_in=request.expires_in,
            created_at=now,
            deadline=now + hold + GRACE,
        )

    @classmethod
    def from_reservation(cls, answer: InventoryReserved, now: datetime) -> Self:
        """Return a new order from inventory's answer, for when it arrives before the request."""
        return cls(
            order_id=answer.order_id,
            correlation_id=answer.correlation_id or answer.order_id,
            user_id=answer.user_id,
            items=answer.items,
            total_amount=answer.total_amount,
            currency=answer.currency,
            payment_method=answer.payment_method,
            created_at=now,
            deadline=answer.expires_at + GRACE,
        )

    @property
    def terminal(self) -> bool:
        """Whether the order has ended."""
        return self.status in TERMINAL

    @property
    def due_at(self) -> datetime | None:
        """Its deadline, while the order is undecided."""
        return self.deadline if self.status in ("pending", "reserved") else None

    @property
    def at_rest(self) -> bool:
        """Whether the order has ended."""
        return self.terminal

    @property
    def listing(self) -> Listing | None:
        """By status and by age, once the order has ended."""
        return Listing(self.status, self.created_at) if self.terminal else None

    @property
    def totals(self) -> Mapping[str, Decimal]:
        """The sum and the number of the confirmed orders, by currency."""
        if self.status != "confirmed":
            return {}
        return {f"{self.currency} confirmed": self.total_amount, f"{self.currency} orders": Decimal(1)}

    @property
    def awaiting(self) -> list[str]:
        """Name what the order waits for now."""
        if self.status == "pending":
            return ["reservation"]
        if self.status == "reserved":
            return ["payment"]
        if self.status == "paid":
            return ["confirmation"]
        if self.terminal:
            return []
        unanswered_requests = {"payment": self.payment, "release": self.release, "refund": self.refund}
        return [name for name, state in unanswered_requests.items() if state == "awaited"]

    @property
    def unanswered_requests(self) -> tuple[type[Event], ...]:
        """The requests it has made, or was adopted from, that are not answered."""
        if self.terminal:
            return ()
        if self.status == "pending":
            return (InventoryReservationRequested,)
        if self.status == "paid":
            return (InventoryConfirmationRequested,)
        asked: dict[type[Event], str] = {
            PaymentRequested: self.payment,
            InventoryReleaseRequested: self.release,
            PaymentRefundRequested: self.refund,
        }
        return tuple(kind for kind, state in asked.items() if state == "awaited")

    @property
    def adopted_requests(self) -> tuple[Event, ...]:
        """The request it was adopted from."""
        return (self.request,) if self.request else ()

    def matches(self, items: Sequence[Item], total_amount: Decimal, currency: str, user_id: str) -> bool:
        """Return whether an order for these lines, price and customer is this one."""
        return (_sorted_lines(items), total_amount, currency, user_id) == (
            _sorted_lines(self.items),
            self.total_amount,
            self.currency,
            self.user_id,
        )


def _sorted_lines(items: Sequence[Item]) -> list[tuple[str, str, int]]:
    """Return the lines in an order that does not depend on that of the request."""
    return sorted((item.product_id, item.warehouse_id or "", item.quantity) for item in items)

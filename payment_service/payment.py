"""The payment aggregate: what the payment service knows of one order's money."""

from datetime import datetime
from typing import Literal

from events.fields import Count, Id, Money, PaymentMethod, Timestamp
from reactor.aggregate import Aggregate

Status = Literal["charging", "charged", "declined", "void", "refunding", "refunded", "refundFailed"]


class Payment(Aggregate):
    """The one payment of an order; its id is the order's.

    `charging` and `refunding` are intents: the provider is asked, with the same key, until it gives a
    definite answer. With `undo`, a refund was asked for while the charge was under way. With `saga` off the
    payment was made over HTTP and publishes nothing until a saga asks for it. The fields ending in `_under`
    name the request whose record gets the answer.
    """

    status: Status
    saga: bool = True
    user_id: Id | None = None
    amount: Money
    currency: str
    idempotency_key: str
    payment_method: PaymentMethod | None = None
    undo: bool = False
    charge_id: str | None = None
    refund_id: str | None = None
    refund_attempt: Count = 0
    refunded_amount: Money
    reason: str | None = None
    requested_under: str | None = None
    refund_under: str | None = None
    try_at: Timestamp | None = None
    """When a sweeper takes up an intent that nobody else has carried out."""
    silences: Count = 0
    """How often the provider has left a sweeper without an answer to this intent."""

    @property
    def under_way(self) -> bool:
        """The provider owes an answer."""
        return self.status in ("charging", "refunding")

    @property
    def due_at(self) -> datetime | None:
        """When a sweeper has to ask the provider again."""
        return self.try_at if self.under_way else None

    @property
    def charge_key(self) -> str:
        """The idempotency key of the charge: one an order, whatever key its requester has given."""
        return f"order-{self.order_id}"

    @property
    def refund_key(self) -> str:
        """The idempotency key of the refund: a new one for each attempt, since a refusal is an answer."""
        return f"refund-{self.order_id}-{self.refund_attempt}"

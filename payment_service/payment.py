"""The payment aggregate: what the payment service knows of one order's money."""

import re
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from events.types import Count, Id, Money, PaymentMethod, Timestamp
from payment_service.providers.base import Action
from saga.reactions.aggregate import Aggregate

EXPIRY_MARGIN = timedelta(seconds=5)

PaymentStatus = Literal["charging", "charged", "declined", "void", "refunding", "refunded", "refundFailed"]


class Payment(Aggregate):
    """The one payment of an order; its id is the order's.

    `charging` and `refunding` are intents: the provider is asked, with the same key, until it gives a
    definite answer. `refundFailed` is one, too, that a person has been told of. With `refund_when_charged`,
    a refund was
    asked for while the charge was under way. With `saga` off the payment was made over HTTP and publishes
    nothing until a saga asks for it. The fields ending in `_under` name the request whose record gets the
    answer.
    """

    status: PaymentStatus
    saga: bool = True
    user_id: Id | None = None
    amount: Money
    currency: str
    idempotency_key: str
    payment_method: PaymentMethod | None = None
    expires_at: Timestamp | None = None
    """When the customer must have paid."""
    refund_when_charged: bool = False
    charge_id: str | None = None
    pending_charge: str | None = None
    """The provider's reference of a charge that it has not decided on."""
    actions: tuple[Action, ...] = ()
    """What the customer has to do so that it can."""
    refund_id: str | None = None
    pending_refund: str | None = None
    """The provider's reference of the refund attempt that it has not decided on."""
    refund_attempt: Count = 0
    """The number of the attempt that succeeded, or is under way, or comes next."""
    refund_failure_published: bool = False
    """Whether the saga was told that the refund needs a person."""
    refunded_amount: Money
    reason: str | None = None
    request_record: str | None = None
    refund_record: str | None = None
    next_attempt_at: Timestamp | None = None
    """When a sweeper takes up an intent that nobody else has carried out."""
    unanswered_attempts: Count = 0
    """How often the provider has been asked about this intent in vain."""

    @property
    def in_progress(self) -> bool:
        """The provider owes an answer."""
        return self.status in ("charging", "refunding")

    @property
    def pending(self) -> str | None:
        """The provider's reference of what is under way, if it has put off its decision."""
        return self.pending_charge if self.status == "charging" else self.pending_refund

    @property
    def cancel_at(self) -> datetime | None:
        """When a charge that is still pending is cancelled: a moment after the customer must have paid, so
        that the provider may say so first."""
        return self.expires_at + EXPIRY_MARGIN if self.expires_at and self.status == "charging" else None

    @property
    def due_at(self) -> datetime | None:
        """When a sweeper has to ask the provider again."""
        return self.next_attempt_at

    @property
    def charge_key(self) -> str:
        """The idempotency key of the charge: one an order, whatever key its requester has given."""
        return f"order-{self.order_id}"

    @property
    def refund_key(self) -> str:
        """The idempotency key of the refund: a new one for each attempt, since a refusal is an answer."""
        return f"refund-{self.order_id}-{self.refund_attempt}"


class IdempotencyKey(NamedTuple):
    """What an idempotency key stands for: the charge of an order, or an attempt to refund it (from 1 on)."""

    order_id: str
    attempt: int = 0


_KEY = re.compile(r"order-([A-Za-z0-9_-]{1,64})|refund-([A-Za-z0-9_-]{1,64})-([1-9][0-9]{0,8})")


def parse_idempotency_key(key: str) -> IdempotencyKey | None:
    """Return what one of our keys stands for; None for anybody else's."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    charged, refunded, attempt = found.groups()
    return IdempotencyKey(charged) if charged else IdempotencyKey(refunded, int(attempt))

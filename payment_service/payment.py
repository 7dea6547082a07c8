"""The payment aggregate: what the payment service knows about the money of one order."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from events.types import Count, Id, Money, PaymentMethod, Timestamp
from payment_service.providers.base import Action
from saga.reactions.aggregate import Aggregate

EXPIRY_MARGIN = timedelta(seconds=5)

PaymentStatus = Literal["charging", "charged", "declined", "void", "refunding", "refunded", "refundFailed"]


class Payment(Aggregate):
    """The one payment of an order.

    `charging` and `refunding` are intents: the service asks the provider, with the same key, until it gives a
    definite answer. So is `refundFailed`, which an operator has to look at. With `saga` off, the payment was
    made over HTTP, and publishes nothing until a saga requests it. `request_record` and `refund_record` name
    the journal entries that the answers are appended to.
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
    """Whether a refund was requested while the charge was in progress."""
    charge_id: str | None = None
    pending_charge: str | None = None
    """The provider's reference to a charge that it has not decided."""
    actions: tuple[Action, ...] = ()
    """What the customer has to do before the provider can decide."""
    refund_id: str | None = None
    pending_refund: str | None = None
    """The provider's reference to the refund attempt that it has not decided."""
    refund_attempt: Count = 0
    """The number of the attempt that succeeded, is in progress, or comes next."""
    refund_failure_published: bool = False
    """Whether the saga knows that the refund needs an operator."""
    refunded_amount: Money
    reason: str | None = None
    request_record: str | None = None
    refund_record: str | None = None
    next_attempt_at: Timestamp | None = None
    """When the provider is asked about this intent again; until then, it is left to who claimed it."""
    unanswered_attempts: Count = 0
    """Calls about this intent that were claimed."""
    relay_answers: bool = False
    """Whether a message was acknowledged without its answer, which the relay has to publish then."""

    @property
    def payment_id(self) -> str:
        """The id of the payment, which is the order's."""
        return self.order_id

    @property
    def at_rest(self) -> bool:
        """Whether no decision about it is expected any more."""
        return self.status in ("charged", "declined", "void", "refunded")

    @property
    def totals(self) -> Mapping[str, Decimal]:
        """What was charged and refunded, by currency."""
        if self.charge_id is None:
            return {}
        return {f"{self.currency} charged": self.amount, f"{self.currency} refunded": self.refunded_amount}

    @property
    def in_progress(self) -> bool:
        """Whether the provider has still to answer."""
        return self.status in ("charging", "refunding")

    @property
    def pending(self) -> str | None:
        """The provider's reference to what is in progress, if it has deferred its decision."""
        return self.pending_charge if self.status == "charging" else self.pending_refund

    @property
    def cancel_at(self) -> datetime | None:
        """When to cancel a charge that is still pending: a moment after the customer must have paid, so that
        the provider may expire it first."""
        return self.expires_at + EXPIRY_MARGIN if self.expires_at and self.status == "charging" else None

    @property
    def due_at(self) -> datetime | None:
        """When the provider has to be asked again."""
        return self.next_attempt_at

    @property
    def charge_key(self) -> str:
        """The idempotency key of the charge: one for each order, whatever key the request has."""
        return f"order-{self.order_id}"

    @property
    def refund_key(self) -> str:
        """The idempotency key of the refund: a new one for each attempt, since a refusal is an answer."""
        return f"refund-{self.order_id}-{self.refund_attempt}"


class IdempotencyKey(NamedTuple):
    """What a key stands for: the charge of an order (attempt 0), or an attempt to refund it (from 1 on)."""

    order_id: str
    attempt: int = 0


_KEY = re.compile(r"order-([A-Za-z0-9_-]{1,64})|refund-([A-Za-z0-9_-]{1,64})-([1-9][0-9]{0,8})")


def parse_idempotency_key(key: str) -> IdempotencyKey | None:
    """Return what a key of this service stands for; None for any other key."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    charged, refunded, attempt = found.groups()
    return IdempotencyKey(charged) if charged else IdempotencyKey(refunded, int(attempt))

"""What the payment service needs of a payment provider.

A provider may decide at once or, for most methods in which the customer takes part, later: then it answers
`Pending`, and its decision is learned from a `Notification` (a webhook) or by asking again (`fetch`).
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from events.values import Model
from saga.errors import SagaError


class Action(Model):
    """What the customer has to do for a payment that is pending.

    `redirect`: open `value`, a URL. `present`: show `value`, such as an account number or the text of a QR
    code. `call`: whatever the provider documents for `name`.
    """

    kind: Literal["redirect", "present", "call"]
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Approved:
    """The customer was charged; `charge_id` is the provider's reference."""

    charge_id: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The customer was not charged and, for this key, never will be."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refunded:
    """The customer was paid back; `refund_id` is the provider's reference."""

    refund_id: str


@dataclass(frozen=True, slots=True)
class RefundRefused:
    """The customer was not paid back and, for this key, never will be."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pending:
    """It is not decided yet; `reference` is what to ask the provider by."""

    reference: str
    actions: tuple[Action, ...] = ()


ChargeAnswer = Approved | Declined | Pending
RefundAnswer = Refunded | RefundRefused | Pending
Answer = ChargeAnswer | RefundAnswer


@dataclass(frozen=True, slots=True)
class Notification:
    """The provider says that something has become of what was asked for under a key, not what: messages from
    outside come late, repeatedly and in any order, so that the provider is asked."""

    key: str
    reference: str


class NoAnswer(SagaError):
    """The provider has not decided on this; whether it has done, or will do, what was asked is not known."""


class ProviderDown(NoAnswer):
    """The provider cannot be reached at all, or serves nobody."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge to make: the same key always means the same charge.

    From `expires_at` on the customer must not be able to pay any more.
    """

    key: str
    amount: Decimal
    currency: str
    payment_method: str | None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """A charge to pay back: the same key always means the same refund."""

    key: str
    charge_id: str
    amount: Decimal
    currency: str
    payment_method: str | None


class Provider(Protocol):
    """A payment provider. A call that is cancelled may or may not have had its effect: it is made again,
    with the same key, until there is an answer.

    Every method may raise `NoAnswer`, or `ProviderDown` where it concerns all payments.
    """

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """Charge the customer."""

    async def refund(self, refund: Refund) -> RefundAnswer:
        """Pay the customer back."""

    async def fetch(self, asked: Charge | Refund, reference: str) -> Answer:
        """Return what has become of what was asked for, and is known to the provider by this reference."""

    async def cancel(self, charge: Charge, reference: str) -> ChargeAnswer:
        """See that a pending charge is not made any more; return what has become of it, which may be that
        it was made before, or that this takes a while."""

    async def check(self) -> None:
        """Return if the provider may be asked; else raise `ProviderDown`."""

"""What the payment service needs of a payment provider.

A provider may decide at once or, for most methods in which the customer takes part, later: then it answers
`Pending`, and the service learns the decision from a `Notification` (a webhook) or by asking again (`fetch`).
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from events.values import Model
from saga.errors import SagaError


class Action(Model):
    """What the customer has to do for a pending payment.

    `redirect`: open `value`, a URL. `present`: show `value`, such as an account number or the text of a QR
    code. `call`: see the provider's documentation of `name`.
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
    """The customer was not charged, and never will be under this key."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refunded:
    """The customer was refunded; `refund_id` is the provider's reference."""

    refund_id: str


@dataclass(frozen=True, slots=True)
class RefundRefused:
    """The customer was not refunded, and never will be under this key."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pending:
    """The provider has not decided yet; `reference` is what to ask it about."""

    reference: str
    actions: tuple[Action, ...] = ()


ChargeAnswer = Approved | Declined | Pending
RefundAnswer = Refunded | RefundRefused | Pending
Answer = ChargeAnswer | RefundAnswer


@dataclass(frozen=True, slots=True)
class Notification:
    """The provider has decided on what was requested under a key.

    It does not say how: notifications come late, repeatedly and in any order, so that the service asks.
    """

    key: str
    reference: str


class NoAnswer(SagaError):
    """The provider has not decided; whether it has done, or will do, what was requested is unknown."""


class ProviderDown(NoAnswer):
    """The provider cannot be reached, or serves none of our requests."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge to make; the same key always means the same charge.

    The customer must not be able to pay after `expires_at`.
    """

    key: str
    amount: Decimal
    currency: str
    payment_method: str | None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """A charge to refund; the same key always means the same refund."""

    key: str
    charge_id: str
    amount: Decimal
    currency: str
    payment_method: str | None


class Provider(Protocol):
    """A payment provider. A call that is cancelled may or may not have had its effect: the service repeats
    it, with the same key, until there is an answer.

    Every method may raise `NoAnswer`, or `ProviderDown` where all payments are affected.
    """

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """Charge the customer."""

    async def refund(self, refund: Refund) -> RefundAnswer:
        """Refund the customer."""

    async def fetch(self, request: Charge | Refund, reference: str) -> Answer:
        """Return the provider's decision on what it knows by this reference."""

    async def cancel(self, charge: Charge, reference: str) -> ChargeAnswer:
        """Cancel a pending charge; return the decision on it: it may have been made before, or the
        cancellation may take a while."""

    async def check(self) -> None:
        """Return if the provider takes calls; else raise `ProviderDown`."""

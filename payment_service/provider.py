"""What the payment service needs of a payment provider."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol


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


ChargeAnswer = Approved | Declined
RefundAnswer = Refunded | RefundRefused


class ProviderDown(Exception):
    """The provider cannot be reached at all; whether it has done what was asked is not known."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge to make: the same key always means the same charge."""

    key: str
    amount: Decimal
    currency: str
    payment_method: str | None


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
    with the same key, until there is an answer."""

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """Charge the customer.

        Raises:
            ProviderDown: it cannot be reached.
        """

    async def refund(self, refund: Refund) -> RefundAnswer:
        """Pay the customer back.

        Raises:
            ProviderDown: it cannot be reached.
        """

    async def check(self) -> None:
        """Return if the provider may be asked.

        Raises:
            ProviderDown: it cannot be reached.
        """

"""What the three services know of one order, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from inventory_service.reservation import Reservation
from order_service.order import Order
from payment_service.payment import Payment
from saga.reactions.aggregate import Aggregate

M = TypeVar("M", bound=Aggregate)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[M]):
    """One stored aggregate: its state, when it last changed, and every event in its journal."""

    state: M
    updated_at: datetime
    emitted: Sequence[Json] = ()
    unpublished_since: datetime | None = None
    """When the oldest event that is still unpublished was saved."""


@dataclass(frozen=True, slots=True)
class Case:
    """One order id, and what each service stores under it."""

    order_id: str
    order: Snapshot[Order] | None = None
    reservation: Snapshot[Reservation] | None = None
    payment: Snapshot[Payment] | None = None

    @property
    def parts(self) -> list[Snapshot[Order] | Snapshot[Reservation] | Snapshot[Payment]]:
        """The snapshots that exist."""
        return [part for part in (self.order, self.reservation, self.payment) if part is not None]

    @property
    def events(self) -> list[Json]:
        """Every event that a service has recorded for this order."""
        return [event for part in self.parts for event in part.emitted]

    @property
    def stock(self) -> Reservation | None:
        """The reservation if a saga owns it: neither made nor allocated directly."""
        if self.reservation is None or is_direct(self.reservation.state):
            return None
        return self.reservation.state

    @property
    def money(self) -> Payment | None:
        """The payment if a saga owns it."""
        return self.payment.state if self.payment and self.payment.state.saga else None


def is_direct(reservation: Reservation) -> bool:
    """Return whether the stock was taken over HTTP, so that no saga owns it.

    A saga whose stock was allocated directly is rejected, and the stock stays allocated.
    """
    return not reservation.saga or (reservation.status == "allocated" and not reservation.confirmation_record)

"""The reservation aggregate: what the inventory service knows about the stock of one order."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from events.catalogue import INVENTORY, Event, InventoryReserved
from events.identity import transition_id
from events.types import Id, Money, PaymentMethod, Timestamp
from events.values import HeldLine, Item, Location
from saga.reactions.aggregate import Aggregate

ReservationStatus = Literal["held", "rejected", "allocated", "released", "expired"]


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that a client requests over HTTP; with a price, it starts a saga."""

    order_id: str
    user_id: str
    items: tuple[Item, ...]
    user_location: Location | None
    total_amount: Decimal | None
    currency: str
    expires_in: int | None
    payment_method: PaymentMethod | None

    @property
    def record_id(self) -> str:
        """The id of the journal entry of this hold."""
        return transition_id(INVENTORY, self.order_id, "hold_directly")


class Reservation(Aggregate):
    """The stock of one order, all of its lines or none.

    A reservation that was never requested is a tombstone: its release came first. With `saga` off, it was
    made over HTTP without a price, and publishes nothing until a saga requests it. The fields that end in
    `_record` name the journal entries whose events answer a repeated request.
    """

    status: ReservationStatus
    saga: bool = True
    user_id: Id | None = None
    items: tuple[Item, ...] = ()
    user_location: Location | None = None
    total_amount: Money | None = None
    currency: str | None = None
    payment_method: PaymentMethod | None = None
    lines: tuple[HeldLine, ...] = ()
    expires_at: Timestamp | None = None
    request_record: str | None = None
    confirmation_record: str | None = None
    release_record: str | None = None

    @property
    def reservation_id(self) -> str:
        """The id of the reservation, which is the order's."""
        return self.order_id

    @property
    def at_rest(self) -> bool:
        """Whether no stock is on hold for it."""
        return self.status != "held"

    @property
    def due_at(self) -> datetime | None:
        """When the hold expires."""
        return self.expires_at if self.status == "held" else None

    @property
    def unanswered_requests(self) -> tuple[type[Event], ...]:
        """While stock is held for a saga, its decision is awaited."""
        return (InventoryReserved,) if self.status == "held" and self.saga else ()

    @property
    def rejected_or_expired(self) -> bool:
        """Whether the saga's request was rejected, or its hold expired: no stock is held for it.

        A request is rejected for insufficient stock, or since a direct hold under its id has ended.
        """
        answered_otherwise = self.release_record or self.confirmation_record
        direct_hold_ended = self.status in ("released", "allocated") and not answered_otherwise
        return self.saga and (self.status in ("rejected", "expired") or direct_hold_ended)

"""The reservation aggregate: what the inventory service knows about the stock of one order."""

from datetime import datetime
from typing import Literal

from events.catalogue import Event, InventoryReserved
from events.types import Id, Money, PaymentMethod, Timestamp
from events.values import HeldLine, Item, Location
from saga.reactions.aggregate import Aggregate

ReservationStatus = Literal["held", "rejected", "allocated", "released", "expired"]


class Reservation(Aggregate):
    """The stock of one order, all of its lines or none.

    A reservation that was never requested is a tombstone: its release came first. With `saga` off it was
    made over HTTP without a price, belongs to no saga, and publishes nothing until a saga asks for it. The
    fields ending in `_under` name the record whose events answer the same request again.
    """

    status: ReservationStatus
    saga: bool = True
    user_id: Id | None = None
    items: tuple[Item, ...] = ()
    near: Location | None = None
    total_amount: Money | None = None
    currency: str | None = None
    payment_method: PaymentMethod | None = None
    lines: tuple[HeldLine, ...] = ()
    expires_at: Timestamp | None = None
    request_record: str | None = None
    confirmation_record: str | None = None
    release_record: str | None = None

    @property
    def due_at(self) -> datetime | None:
        """When the hold runs out."""
        return self.expires_at if self.status == "held" else None

    @property
    def unanswered_requests(self) -> tuple[type[Event], ...]:
        """While it is held for a saga, the order service owes it a decision."""
        return (InventoryReserved,) if self.status == "held" and self.saga else ()

    @property
    def rejected_or_expired(self) -> bool:
        """Whether its request was refused, for want of stock or since what was made by hand under its id is
        not held any more, or its hold ran out. Nothing is held for it, and no order needs to know of it."""
        answered_otherwise = self.release_record or self.confirmation_record
        by_hand = self.status in ("released", "allocated") and not answered_otherwise
        return self.saga and (self.status in ("rejected", "expired") or by_hand)

"""What the reactions of the inventory service read, and what they return, in addition to the reservation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inventory_service.allocation import BAND_KM
from inventory_service.reservation import Reservation
from inventory_service.stock import Stock, StockMove
from saga.reactions.reaction import Reaction


@dataclass(frozen=True, slots=True)
class ReservationContext:
    """What a reaction reads in addition to the reservation."""

    stock: Stock
    now: datetime
    default_hold: timedelta
    band_km: float = BAND_KM

    def expiry(self, seconds: int | None) -> datetime:
        """Return when a hold of so many seconds expires; None: of the default duration."""
        return self.now + (timedelta(seconds=seconds) if seconds else self.default_hold)


@dataclass(frozen=True, slots=True)
class StockReaction(Reaction[Reservation]):
    """A reaction that also moves stock."""

    moves: Sequence[StockMove] = ()

"""What the three services know of one order, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from inventory_service.reservation import Reservation
from order_service.order import Order
from payment_service.payment import Payment
from saga.reactions.aggregate import Aggregate
from saga.reactions.store import Document

M = TypeVar("M", bound=Aggregate)

Json = dict[str, Any]


class Unreadable(ValueError):
    """A document is not what its service writes; the text says of which service, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Kept(Generic[M]):
    """One document: the state, when it was last changed, and every event that its journal has recorded."""

    state: M
    updated_at: datetime
    emitted: Sequence[Json] = ()
    waiting_since: datetime | None = None
    """When the oldest event that is still unpublished was saved."""


@dataclass(frozen=True, slots=True)
class Case:
    """One order id, and what each service keeps under it."""

    key: str
    order: Kept[Order] | None = None
    reservation: Kept[Reservation] | None = None
    payment: Kept[Payment] | None = None

    @property
    def parts(self) -> list[Kept[Order] | Kept[Reservation] | Kept[Payment]]:
        """What there is."""
        return [part for part in (self.order, self.reservation, self.payment) if part is not None]

    @property
    def events(self) -> list[Json]:
        """Every event that a service has recorded for this order."""
        return [event for part in self.parts for event in part.emitted]

    @property
    def stock(self) -> Reservation | None:
        """The reservation, if it is a saga's: neither made nor allocated by hand."""
        if self.reservation is None or direct(self.reservation.state):
            return None
        return self.reservation.state

    @property
    def money(self) -> Payment | None:
        """The payment, if it is a saga's."""
        return self.payment.state if self.payment and self.payment.state.saga else None


def direct(reservation: Reservation) -> bool:
    """Return whether the stock was taken over HTTP, so that no saga owns it.

    A saga that asks for what was allocated by hand is refused, and the stock stays allocated.
    """
    return not reservation.saga or (reservation.status == "allocated" and not reservation.confirmation_record)


def kept(document: Document, model: type[M]) -> Kept[M]:
    """Read a document as its service does.

    Raises:
        Unreadable: its service could not read it either.
    """
    try:
        state = model.model_validate(document["state"])
        if state.order_id != document["_id"]:
            raise ValueError(f"the state is that of {state.order_id}")
        return Kept(
            state=state,
            updated_at=document["updatedAt"],
            emitted=[event for record in document["journal"].values() for event in _named(record["emitted"])],
            waiting_since=min((item["at"] for item in document["outbox"]), default=None),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Unreadable(f"{model.__name__.lower()}: {type(error).__name__}: {_short(error)}") from error


def _named(events: Sequence[Json]) -> Sequence[Json]:
    for event in events:
        _ = event["eventId"], event["type"], event["orderId"]
    return events


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

"""What all aggregates have in common."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from events.catalogue import Event
from events.types import Id
from events.values import Model


class Listing(NamedTuple):
    """A list that an aggregate belongs to, and the time that it is sorted by there."""

    name: str
    at: datetime


class Aggregate(Model):
    """What a service knows of one order. It is never changed, only replaced."""

    order_id: Id
    """Its key."""
    correlation_id: Id
    """The saga it belongs to."""
    status: str
    """Where it stands."""

    @property
    def due_at(self) -> datetime | None:
        """When the clock will have to change it, if nothing else does before."""
        return None

    @property
    def unanswered_requests(self) -> tuple[type[Event], ...]:
        """What it has published and not been answered; a nudge publishes that again."""
        return ()

    @property
    def adopted_requests(self) -> tuple[Event, ...]:
        """Requests that another service published for it, and that only a nudge publishes again."""
        return ()

    @property
    def at_rest(self) -> bool:
        """Whether nothing more is expected to happen to it."""
        return False

    @property
    def listing(self) -> Listing | None:
        """Where it is listed, once it has ended."""
        return None

    @property
    def totals(self) -> Mapping[str, Decimal]:
        """What it adds to the running totals of its service, by name."""
        return {}

"""What all aggregates have in common."""

from datetime import datetime

from events.catalogue import Event
from events.types import Id
from events.values import Model


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

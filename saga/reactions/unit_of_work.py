"""What one batch works on, from load to save."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, Self, TypeVar

from events.encoded import EncodedEvent
from saga.reactions.aggregate import Aggregate
from saga.reactions.reaction import Reaction

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a saved aggregate is left alone: its unpublished events, by the process that saved them; and
    its unanswered requests, by those who may answer them."""

    relay: timedelta = timedelta(seconds=2)
    nudge: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What an aggregate remembers of one event or transition.

    `status` is the one that it led to; `emitted` holds the events that it caused, as they were published.
    `unpublished` are the ids of those that no message would publish again, and that the broker has not been
    seen to confirm. `unknown` are stored fields that another version of the service has written.
    """

    name: str
    at: datetime
    status: str
    emitted: tuple[str, ...] = ()
    unpublished: tuple[str, ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Posting:
    """What an aggregate was announced with to the ledger: `id` is that of the announcement."""

    id: str
    listed_as: str | None
    totals: Mapping[str, Decimal]


@dataclass(slots=True)
class LoadedAggregate(Generic[A]):
    """An aggregate as it was loaded, or is assumed to be, and as a batch changes it.

    `version` is the one that was loaded, 0 for a new aggregate. `assumed`: it was not read, but is what this
    process last wrote, or is taken for new; only a guarded write may conclude anything from it. `wake_at` is
    the earliest time at which something has to be done that no message will do; `nudge_at` is the part of it
    that concerns nudges, and `nudges` counts them since the last change. `posted` is what the ledger
    was announced. `unknown` are stored fields of the state that another version of the service has written.
    """

    key: str
    version: int = 0
    state: A | None = None
    journal: dict[str, JournalEntry] = field(default_factory=dict)
    updated_at: datetime | None = None
    wake_at: datetime | None = None
    nudge_at: datetime | None = None
    nudges: int = 0
    posted: tuple[Posting, ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict)
    assumed: bool = False
    changed: bool = False

    def copy(self) -> Self:
        """Return a copy whose changes do not concern this one."""
        return replace(self, journal=dict(self.journal))

    @property
    def unpublished(self) -> list[EncodedEvent]:
        """The events that the relay has to publish.

        Raises:
            InvalidEvent: one cannot be read.
        """
        found = []
        for record in self.journal.values():
            if record.unpublished:
                events = [EncodedEvent.read(body) for body in record.emitted]
                found += [event for event in events if event.event_id in record.unpublished]
        return found

    def forget_unpublished(self, event_ids: Collection[str]) -> None:
        """Take these for published from the next write on."""
        for key, record in self.journal.items():
            if record.unpublished:
                left = tuple(one for one in record.unpublished if one not in event_ids)
                self.journal[key] = replace(record, unpublished=left)

    def set_timer(self, now: datetime, patience: Patience) -> None:
        """Set when the aggregate has to be woken, if it is saved now as it is."""
        relay_at = now + patience.relay if any(one.unpublished for one in self.journal.values()) else None
        due_at = self.state.due_at if self.state else None
        self.wake_at = min((at for at in (due_at, self.nudge_at, relay_at) if at), default=None)


class UnitOfWork(Generic[A, C]):
    """The aggregates of one batch, and what was loaded with them."""

    def __init__(self, entries: dict[str, LoadedAggregate[A]], context: C) -> None:
        self.entries = entries
        self.context = context

    def accept(self, reaction: Reaction[A]) -> None:
        """Show the next reaction of the batch what this one changed outside its aggregate."""

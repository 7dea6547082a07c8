"""What one batch works on, from load to save."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from saga.reactions.reaction import Reaction

S = TypeVar("S")
C = TypeVar("C")


@dataclass(slots=True)
class JournalEntry:
    """What an aggregate remembers of one event or transition: when, and the events it caused, as JSON."""

    name: str
    at: datetime
    emitted: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class LoadedAggregate(Generic[S]):
    """An aggregate as it was loaded, and what a batch has changed of it.

    `version` is the one that was loaded, 0 for a new aggregate; `changed` holds the ids of the records to
    write, `queued` those of the events that wait for the relay; `nudges` counts the nudges since the
    aggregate last changed.
    """

    key: str
    version: int = 0
    state: S | None = None
    journal: dict[str, JournalEntry] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    nudges: int = 0


class UnitOfWork(Generic[S, C]):
    """The aggregates of one batch, and what was loaded with them."""

    def __init__(self, entries: dict[str, LoadedAggregate[S]], context: C) -> None:
        self.entries = entries
        self.context = context

    def accept(self, reaction: Reaction[S]) -> None:
        """Show the next reaction of the batch what this one changed outside its aggregate."""

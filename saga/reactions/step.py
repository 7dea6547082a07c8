"""The vocabulary of the batch logic: entries, steps, reactions, outcomes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from events.catalogue import Event

S = TypeVar("S")
C = TypeVar("C")


class Rule:
    """One line of a table of reactions: the pure function to call, and the events it may publish."""

    def __init__(self, react: Callable[..., "Reaction[Any]"], *emits: type[Event]) -> None:
        self.react = react
        self.emits = emits

    def __call__(self, *arguments: Any) -> "Reaction[Any]":
        """React.

        Raises:
            TypeError: the reaction published what its line of the table does not name.
        """
        reaction = self.react(*arguments)
        if strangers := {type(event) for event in reaction.emits} - set(self.emits):
            raise TypeError(f"{self.react.__name__} may not publish {strangers}")
        return reaction


@dataclass(slots=True)
class JournalEntry:
    """What an aggregate remembers of one event or transition: when, and all it made it publish, as JSON."""

    name: str
    at: datetime
    emitted: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class LoadedAggregate(Generic[S]):
    """An aggregate as it was loaded, and what a batch has changed of it.

    `version` is the one that was loaded, 0 for none; `touched` the ids of the records to write, `queued`
    those of the events that wait for the relay; `nudges` how often it was nudged since it last changed.
    """

    key: str
    version: int = 0
    state: S | None = None
    journal: dict[str, JournalEntry] = field(default_factory=dict)
    touched: list[str] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    nudges: int = 0


@dataclass(frozen=True, slots=True)
class Reaction(Generic[S]):
    """What a reaction wants: the new state, and the events to publish, not yet given ids.

    `again` names a record (an event id or a transition id) whose events are to be published again, which is
    how a repeated request gets the first answer. `under` names the event that these events answer late: they
    are appended to what was recorded for it, so that its redelivery publishes them too.
    """

    state: S | None
    emits: Sequence[Event] = ()
    again: str | None = None
    under: str | None = None


@dataclass(frozen=True, slots=True)
class Step(Generic[S, C]):
    """One change to one aggregate, asked for by an event, a request or a clock.

    `react` gets the state and what the store loaded beside it; `about` is what the step is asked by, for a
    store that has to load more for it. What it emits is recorded under
    `recorded_under`; a step whose record exists already only publishes it again, unless it `continues` that
    record. With `relayed`, no message would repeat this step: its events are saved as unpublished, for the
    relay.
    """

    key: str
    name: str
    recorded_under: str
    correlation_id: str
    react: Callable[[S | None, C], Reaction[S]]
    about: object = None
    caused_by: str | None = None
    continues: bool = False
    relayed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome(Generic[S]):
    """What became of a step: the state after it, and its events, all of them saved.

    `emitted` is for whoever asked for the step to publish; `relayed` is for the relay, since a redelivery of
    what asked for the step would not publish it again.
    `name` is `handled`, `repeated`, `ignored`, or, with `error` saying why, `failed` or `conflict`.
    """

    name: str
    state: S | None
    emitted: Sequence[Event] = ()
    relayed: Sequence[Event] = ()
    error: Exception | None = None

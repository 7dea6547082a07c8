"""What authors write: pure functions that return a `Reaction`, and the two tables that name them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, TypeVarTuple

from events.catalogue import Event

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E", bound=Event)
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Reaction(Generic[S]):
    """The new state of an aggregate, and the events to publish, which have no ids yet.

    `repeat_of` names a record (the id of an event or of a transition) whose events are to be published again:
    so a repeated request gets the first answer. `append_to` names the event that these events answer late:
    they are appended to its record, so that its redelivery publishes them too. With `relay`, no message can
    be relied on to publish them, and the relay does.
    """

    state: S | None
    emits: Sequence[Event] = ()
    repeat_of: str | None = None
    append_to: str | None = None
    relay: bool = False


class Rule(Generic[S, C, *Ts]):
    """One row of a table: the pure function to call, and the events that it may publish.

    The function takes the state of the aggregate (None: unknown), what causes the change, and what the store
    has loaded with the aggregate (for most services, the time). `creates`: the aggregate is mostly new, so
    that it is not looked for before it is written.
    """

    def __init__(
        self,
        react: Callable[[S | None, *Ts, C], Reaction[S]],
        publishes: Sequence[type[Event]] = (),
        *,
        creates: bool = False,
    ) -> None:
        self.name = react.__name__
        self.react: Callable[..., Reaction[S]] = react
        self.publishes = tuple(publishes)
        self.creates = creates

    def __call__(self, *arguments: Any) -> Reaction[S]:
        """React.

        Raises:
            TypeError: the function publishes an event that its row does not name.
        """
        reaction = self.react(*arguments)
        if undeclared := {type(event) for event in reaction.emits} - set(self.publishes):
            raise TypeError(f"{self.name} may not publish {undeclared}")
        return reaction


class Transition(Rule[S, C, *Ts]):
    """A change that no event causes: a request, the clock, the answer of a provider."""


Reactions = Mapping[type[Event], Rule[S, C, Any]]
Transitions = Sequence[Transition[S, C, *tuple[Any, ...]]]


def on(
    event: type[E],
    react: Callable[[S | None, E, C], Reaction[S]],
    publishes: Sequence[type[Event]] = (),
    *,
    creates: bool = False,
) -> tuple[type[Event], Rule[S, C, Any]]:
    """Return the row for an event."""
    return event, Rule(react, publishes, creates=creates)


def table(*rows: tuple[type[Event], Rule[S, C, Any]]) -> dict[type[Event], Rule[S, C, Any]]:
    """Return the table of reactions with these rows.

    Raises:
        ValueError: two rows are for one event.
    """
    reactions = dict(rows)
    if len(reactions) < len(rows):
        raise ValueError("two rows are for one event")
    return reactions

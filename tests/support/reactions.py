"""What the tests of all reactions ask of a reaction."""

from collections.abc import Callable
from typing import Any, TypeVar

from events.catalogue import Event
from saga.reactions.reaction import Reaction

S = TypeVar("S")


def after(reaction: Reaction[S]) -> S:
    """Return the state that a reaction leaves."""
    assert reaction.state is not None
    return reaction.state


def types(reaction: Reaction[Any]) -> list[str]:
    """Return the types of the events that a reaction publishes, in order."""
    return [emitted.type for emitted in reaction.emits]


def emitted(reaction: Reaction[Any], kind: type[Event]) -> Any:
    """Return the one event of this type that a reaction publishes."""
    (found,) = [one for one in reaction.emits if isinstance(one, kind)]
    return found


def play(state: S, *changes: Callable[[S], Reaction[S]]) -> tuple[S, list[str]]:
    """Return the state after these changes, and the types of all events they publish."""
    published = list[str]()
    for change in changes:
        reaction = change(state)
        state = after(reaction)
        published += types(reaction)
    return state, published

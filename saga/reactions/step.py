"""One change to one aggregate: what the engine is asked to do, and what became of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, TypeVarTuple

from events.catalogue import Event
from events.encoded import EncodedEvent
from events.identity import transition_id
from saga.reactions.reaction import Reaction, Reactions, Transition

S = TypeVar("S")
C = TypeVar("C")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Step(Generic[S, C]):
    """One change to one aggregate, caused by an event, a request or the clock.

    `react` gets the state and what the store loaded with it; `arguments` are the event, or the arguments of
    the transition, for a store that has to load more for them. The step is recorded under `record_id`, with
    its events. If that record exists, the step only publishes its events again, unless it `continues` the
    record. `message` is the id of the event whose message the caller holds: what is recorded under that id is
    published before the message is acknowledged. All else is saved as unpublished, for the relay. `creates`:
    the aggregate is mostly new.
    """

    key: str
    name: str
    record_id: str
    correlation_id: str
    react: Callable[[S | None, C], Reaction[S]]
    arguments: Sequence[object] = ()
    message: str | None = None
    continues: bool = False
    creates: bool = False


@dataclass(frozen=True, slots=True)
class Outcome(Generic[S]):
    """What became of a step: the state after it, and its events, all of them saved.

    The caller publishes `emitted`; the relay publishes `relayed`, since no redelivery would publish them
    again. `name` is `handled`, `repeated`, `ignored`, or, with an `error`, `failed` or `conflict`.
    """

    name: str
    state: S | None
    emitted: Sequence[EncodedEvent] = ()
    relayed: Sequence[EncodedEvent] = ()
    error: Exception | None = None


def reaction_step(reactions: Reactions[S, C], event: Event) -> Step[S, C]:
    """Return the step that a received event causes."""
    rule = reactions[type(event)]
    return Step(
        key=event.order_id,
        name=event.type,
        record_id=str(event.event_id),
        correlation_id=str(event.correlation_id),
        react=lambda state, context: rule(state, event, context),
        arguments=(event,),
        message=event.event_id,
        creates=rule.creates,
    )


def transition_step(
    service: str,
    transition: Transition[S, C, *Ts],
    order_id: str,
    correlation_id: str,
    *arguments: *Ts,
    deduplicate_by: str = "",
) -> Step[S, C]:
    """Return the step of a transition, which is made once for each `deduplicate_by`."""
    given: tuple[Any, ...] = arguments
    return Step(
        key=order_id,
        name=transition.name,
        record_id=transition_id(service, order_id, transition.name + deduplicate_by),
        correlation_id=correlation_id,
        react=lambda state, context: transition(state, *given, context),
        arguments=given,
        creates=transition.creates,
    )

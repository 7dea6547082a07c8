"""The results of handling an event."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from events.catalogue import Event
from events.encoded import EncodedEvent


@dataclass(frozen=True, slots=True)
class Handled:
    """Handled, durably: publish these events, then acknowledge."""

    publish: Sequence[EncodedEvent] = ()
    outcome: str = "handled"


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now: try this message again after a pause."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """In progress: the result follows, and must not delay the messages behind this one."""

    result: Awaitable[Handled | Retry]


Result = Handled | Retry | Deferred
Handler = Callable[[Sequence[Event]], Awaitable[Sequence[Result]]]
"""Handles a batch of events: one result for each, in order. May raise `Unavailable`."""

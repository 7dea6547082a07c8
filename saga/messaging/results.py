"""What a handler may say of an event it was given."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from events.catalogue import Event


@dataclass(frozen=True, slots=True)
class Handled:
    """Handled, durably: publish these events, then acknowledge."""

    publish: Sequence[Event] = ()
    outcome: str = "handled"


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now: try this message again after a pause."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """Under way: the verdict follows, and must not hold up the messages behind this one."""

    verdict: Awaitable[Handled | Retry]


Result = Handled | Retry | Deferred
Handler = Callable[[Sequence[Event]], Awaitable[Sequence[Result]]]
"""Handles a batch of events: one verdict for each, in order. May raise `Unavailable`."""

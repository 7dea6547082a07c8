"""A store in memory for the engine, and steps to run against it."""

from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from events.catalogue import Event, PaymentCompleted, PaymentFailed, PaymentRefunded
from events.codec import encode
from saga.errors import Unavailable
from saga.reactions.reaction import Reaction
from saga.reactions.step import Outcome, Step
from saga.reactions.unit_of_work import LoadedAggregate, UnitOfWork
from tests.support.builders import event


@dataclass(frozen=True)
class Account:
    """A minimal aggregate."""

    total: int = 0


Context = list[str]
React = Callable[[Account | None, Context], Reaction[Account]]


class Room(UnitOfWork[Account, Context]):
    """What a batch works on; every accepted reaction leaves a note in the context."""

    def accept(self, reaction: Reaction[Account]) -> None:
        self.context.append(f"{reaction.state}")


class MemoryStore:
    """A `Store` that keeps copies, guards them by version, and loses to rivals on request."""

    def __init__(self) -> None:
        self.saved: dict[str, LoadedAggregate[Account]] = {}
        self.loads: list[list[str]] = []
        self.rivals: list[set[str]] = []
        self.away = False
        self.all_or_nothing = False

    async def load(self, steps: Sequence[Step[Account, Context]]) -> UnitOfWork[Account, Context]:
        if self.away:
            raise Unavailable("gone")
        self.loads.append([step.name for step in steps])
        entries = {step.key: deepcopy(self.saved.get(step.key, LoadedAggregate(step.key))) for step in steps}
        return Room(entries, [])

    async def save(self, unit: UnitOfWork[Account, Context]) -> Collection[str]:
        rivals = self.rivals.pop(0) if self.rivals else set()
        for key in rivals:
            self.write(deepcopy(self.saved.get(key, LoadedAggregate(key))))
        changed = [entry for entry in unit.entries.values() if entry.changed]
        stale = {entry.key for entry in changed if entry.version != self.version(entry.key)}
        if stale and self.all_or_nothing:
            return set(unit.entries)
        for entry in changed:
            if entry.key not in stale:
                self.write(entry)
        return stale

    def version(self, key: str) -> int:
        return self.saved[key].version if key in self.saved else 0

    def write(self, entry: LoadedAggregate[Account]) -> None:
        waiting = self.saved[entry.key].queued if entry.key in self.saved else []
        self.saved[entry.key] = replace(
            deepcopy(entry),
            version=entry.version + 1,
            changed=[],
            queued=waiting + [one for one in entry.queued if one not in waiting],
        )

    def total(self, key: str) -> int:
        state = self.saved[key].state
        return state.total if state else 0


def add(units: int, *emits: Event, **options: Any) -> React:
    """Return a reaction that adds to the total."""

    def react(state: Account | None, context: Context) -> Reaction[Account]:
        return Reaction(Account((state or Account()).total + units), emits, **options)

    return react


def fail(error: Exception) -> React:
    def react(state: Account | None, context: Context) -> Reaction[Account]:
        raise error

    return react


def again(record: str) -> React:
    return lambda state, context: Reaction(state, repeat_of=record)


def step(react: React, name: str = "e-1", key: str = "o-1", **options: Any) -> Step[Account, Context]:
    """Return a step that the event of this id asks for."""
    return Step(
        key=key,
        name=name,
        record_id=name,
        correlation_id="c-1",
        react=react,
        caused_by=name,
        **options,
    )


FAILED = PaymentFailed(order_id="o-1", reason="x")
FAILED_TOO = PaymentFailed(order_id="o-1", reason="y")
COMPLETED = event(PaymentCompleted)
REFUNDED = PaymentRefunded(order_id="o-1", amount=0, currency="USD")


def texts(outcome: Outcome[Account]) -> list[bytes]:
    return [encode(one) for one in outcome.emitted]


def recorded(store: MemoryStore, record: str, key: str = "o-1") -> list[str]:
    """Return the ids of the events that are recorded under an id."""
    return [emitted["eventId"] for emitted in store.saved[key].journal[record].emitted]

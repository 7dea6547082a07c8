"""A store in memory for the engine, and steps to run against it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from events.catalogue import Event, PaymentCompleted, PaymentFailed, PaymentRefunded
from events.encoded import EncodedEvent
from saga.errors import Unavailable
from saga.reactions.aggregate import Aggregate
from saga.reactions.reaction import Reaction
from saga.reactions.step import Outcome, Step
from saga.reactions.unit_of_work import LoadedAggregate, UnitOfWork
from tests.support.builders import event


class Account(Aggregate):
    """A minimal aggregate."""

    order_id: str = "o-1"
    correlation_id: str = "c-1"
    status: str = "open"
    total: int = 0
    waits: bool = False

    @property
    def unanswered_requests(self) -> tuple[type[Event], ...]:
        return (PaymentFailed,) if self.waits else ()


def account(total: int) -> Account:
    return Account(total=total)


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
        self.reads: list[str] = []
        self.rivals: list[set[str]] = []
        self.away = False
        self.unsavable = False
        self.all_or_nothing = False

    async def load(
        self, steps: Sequence[Step[Account, Context]], assumed: Mapping[str, LoadedAggregate[Account]]
    ) -> UnitOfWork[Account, Context]:
        if self.away:
            raise Unavailable("gone")
        self.loads.append([step.name for step in steps])
        self.reads += sorted({step.key for step in steps} - assumed.keys())
        return Room({step.key: assumed.get(step.key) or self.stored(step.key) for step in steps}, [])

    async def save(self, unit: UnitOfWork[Account, Context]) -> Collection[str]:
        rivals = self.rivals.pop(0) if self.rivals else set()
        for key in rivals:
            self.put(self.stored(key))
        return await self.write(unit.entries.values())

    async def write(self, entries: Collection[LoadedAggregate[Account]]) -> Collection[str]:
        if self.unsavable:
            raise Unavailable("gone")
        changed = [entry for entry in entries if entry.changed]
        stale = {entry.key for entry in changed if entry.version != self.version(entry.key)}
        if stale and self.all_or_nothing:
            return {entry.key for entry in entries}
        for entry in changed:
            if entry.key not in stale:
                self.put(entry)
        return stale

    def stored(self, key: str) -> LoadedAggregate[Account]:
        """Return a copy of what is stored under a key."""
        return deepcopy(self.saved.get(key, LoadedAggregate(key)))

    def version(self, key: str) -> int:
        return self.saved[key].version if key in self.saved else 0

    def put(self, entry: LoadedAggregate[Account]) -> None:
        self.saved[entry.key] = replace(
            deepcopy(entry), version=entry.version + 1, changed=False, assumed=False
        )

    def total(self, key: str) -> int:
        state = self.saved[key].state
        return state.total if state else 0


def add(units: int, *emits: Event, **options: Any) -> React:
    """Return a reaction that adds to the total."""

    def react(state: Account | None, context: Context) -> Reaction[Account]:
        return Reaction(account((state.total if state else 0) + units), emits, **options)

    return react


def fail(error: Exception) -> React:
    def react(state: Account | None, context: Context) -> Reaction[Account]:
        raise error

    return react


def again(record: str) -> React:
    return lambda state, context: Reaction(state, repeat_of=record)


def step(react: React, name: str = "e-1", key: str = "o-1", **options: Any) -> Step[Account, Context]:
    """Return a step that the event of this id asks for."""
    given = {"message": name, **options}
    return Step(key=key, name=name, record_id=name, correlation_id="c-1", react=react, **given)


FAILED = PaymentFailed(order_id="o-1", reason="x")
FAILED_TOO = PaymentFailed(order_id="o-1", reason="y")
COMPLETED = event(PaymentCompleted)
REFUNDED = PaymentRefunded(order_id="o-1", amount=0, currency="USD")


def texts(outcome: Outcome[Account]) -> list[str]:
    return [one.body for one in outcome.emitted]


def ids(events: Sequence[EncodedEvent]) -> list[str]:
    return [one.event_id for one in events]


def recorded(store: MemoryStore, record: str, key: str = "o-1") -> list[str]:
    """Return the ids of the events that are recorded under an id."""
    return ids([EncodedEvent.read(body) for body in store.saved[key].journal[record].emitted])


def unpublished(store: MemoryStore, key: str = "o-1") -> list[str]:
    """Return the ids of the events that wait for the relay."""
    return ids(store.saved[key].unpublished)

"""Mutants of the kernel, and of what the simulation replaces: broker and store."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import saga.messaging.poison
import saga.reactions.engine
from events.codec import decode
from events.encoded import EncodedEvent
from saga.errors import Unavailable
from saga.messaging.consumer import BatchConsumer
from saga.messaging.message import Delivery, Message
from saga.messaging.publisher import Publisher
from saga.messaging.subscription import Subscription
from saga.reactions.engine import Engine
from saga.reactions.step import Step
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate, Patience, UnitOfWork
from saga.timers.relay import Relay
from saga.timers.wake_ups import WakeUps
from tests.simulation.mutants.patching import Patch
from verification.simulation.broker import Connection, MemorySubscription
from verification.simulation.store import MemoryAggregates


def acknowledge_at_once(patch: Patch) -> None:
    take = MemorySubscription.take

    async def taken(self: MemorySubscription, limit: int) -> list[Delivery]:
        deliveries = await take(self, limit)
        for delivery in deliveries:
            self._settle(delivery)
        return deliveries

    patch.setattr(MemorySubscription, "take", taken)


def acknowledge_before_publishing(patch: Patch) -> None:
    process = BatchConsumer._process

    async def processed(
        self: BatchConsumer, batch: Sequence[Delivery], subscription: Subscription, publisher: Publisher
    ) -> None:
        held: list[Message] = []
        patient = SimpleNamespace(check=publisher.check, send=AsyncMock(side_effect=held.extend))
        await process(self, batch, subscription, patient)
        patient.send = publisher.send
        await publisher.send(held)

    patch.setattr(BatchConsumer, "_process", processed)


def publish_without_confirms(patch: Patch) -> None:
    send = Connection.send

    async def sent(self: Connection, messages: Sequence[Message]) -> None:
        try:
            await send(self, messages)
        except Unavailable:
            return

    patch.setattr(Connection, "send", sent)


def write_unguarded(patch: Patch) -> None:
    patch.setattr(MemoryAggregates, "is_stale", lambda self, entry: False)


def repeat_events_under_new_ids(patch: Patch) -> None:
    numbers = count()

    def repeated(record: JournalEntry | None) -> list[EncodedEvent]:
        known = [decode(body) for body in record.emitted] if record else []
        drawn = [one.model_copy(update={"event_id": f"drawn-{next(numbers)}"}) for one in known]
        return [EncodedEvent.of(one) for one in drawn]

    patch.setattr(saga.reactions.engine, "_events", repeated)


def encode_repeated_events_again(patch: Patch) -> None:
    numbers = count()

    def repeated(record: JournalEntry | None) -> list[EncodedEvent]:
        known = [decode(body) for body in record.emitted] if record else []
        later = timedelta(milliseconds=next(numbers) + 1)
        again = [
            one.model_copy(update={"occurred_at": one.occurred_at + later})
            for one in known
            if one.occurred_at
        ]
        return [EncodedEvent.of(one) for one in again]

    patch.setattr(saga.reactions.engine, "_events", repeated)


def forget_the_journal(patch: Patch) -> None:
    entry = MemoryAggregates.entry

    def forgetful(self: MemoryAggregates[Any], key: str) -> LoadedAggregate[Any]:
        found: LoadedAggregate[Any] = entry(self, key)
        found.journal.clear()
        return found

    patch.setattr(MemoryAggregates, "entry", forgetful)


def conclude_from_what_is_assumed(patch: Patch) -> None:
    def only_what_has_lost(
        unit: UnitOfWork[Any, Any], assumed: Collection[str], stale: Collection[str]
    ) -> set[str]:
        return {*assumed} & {*stale}

    patch.setattr(saga.reactions.engine, "_undecided", only_what_has_lost)


def react_again_on_what_has_lost(patch: Patch) -> None:
    """Read only the version again, and keep the state that was assumed."""
    load = Engine._load

    async def loaded(
        self: Engine[Any, Any], steps: Sequence[Step[Any, Any]], to_read: Collection[str]
    ) -> UnitOfWork[Any, Any]:
        unit = await load(self, steps, to_read)
        before: dict[str, LoadedAggregate[Any]] = vars(self).setdefault("assumed_before", {})
        for key, entry in unit.entries.items():
            if entry.assumed and entry.state:
                before[key] = entry.copy()
            elif entry.state and key in before:
                entry.state, entry.journal = before[key].state, dict(before[key].journal)
        return unit

    patch.setattr(Engine, "_load", loaded)


def never_wake_for_the_relay(patch: Patch) -> None:
    def set_timer(self: LoadedAggregate[Any], now: datetime, patience: Patience) -> None:
        due_at = self.state.due_at if self.state else None
        self.wake_at = min((at for at in (due_at, self.nudge_at) if at), default=None)

    patch.setattr(LoadedAggregate, "set_timer", set_timer)


def never_wake_for_a_nudge(patch: Patch) -> None:
    set_timer = LoadedAggregate.set_timer

    def without(self: LoadedAggregate[Any], now: datetime, patience: Patience) -> None:
        self.nudge_at = None
        set_timer(self, now, patience)

    patch.setattr(LoadedAggregate, "set_timer", without)


def never_wake_for_the_clock(patch: Patch) -> None:
    def set_timer(self: LoadedAggregate[Any], now: datetime, patience: Patience) -> None:
        waits = any(record.unpublished for record in self.journal.values())
        self.wake_at = self.nudge_at or (now + patience.relay if waits else None)

    patch.setattr(LoadedAggregate, "set_timer", set_timer)


def relay_nothing(patch: Patch) -> None:
    """Leave to a message what no message causes."""
    set_timer = LoadedAggregate.set_timer

    def published(self: LoadedAggregate[Any], now: datetime, patience: Patience) -> None:
        self.forget_unpublished({event.event_id for event in self.unpublished})
        set_timer(self, now, patience)

    patch.setattr(LoadedAggregate, "set_timer", published)


def mark_before_the_broker_confirms(patch: Patch) -> None:
    publish = Relay.publish

    async def published(self: Relay, events: Sequence[EncodedEvent], path: str) -> None:
        for event in events:
            self._published.add(event.order_id, event.event_id)
        await publish(self, events, path)

    patch.setattr(Relay, "publish", published)


def mark_every_event_of_the_aggregate(patch: Patch) -> None:
    forget = LoadedAggregate.forget_unpublished

    def everything(self: LoadedAggregate[Any], event_ids: Collection[str]) -> None:
        forget(self, {event.event_id for event in self.unpublished})

    patch.setattr(LoadedAggregate, "forget_unpublished", everything)


def put_off_what_was_not_published(patch: Patch) -> None:
    async def publish(self: WakeUps[Any], entries: Sequence[LoadedAggregate[Any]]) -> None:
        events = [event for entry in entries for event in entry.unpublished]
        with suppress(Unavailable):
            await self._relay.publish(events, "sweep")
        for event in events:
            self._relay._published.add(event.order_id, event.event_id)

    patch.setattr(WakeUps, "_publish", publish)


def put_off_without_a_guard(patch: Patch) -> None:
    unguarded: set[int] = set()
    reschedule, is_stale = Engine.reschedule, MemoryAggregates.is_stale

    async def rescheduled(self: Engine[Any, Any], entries: Sequence[LoadedAggregate[Any]]) -> None:
        unguarded.update(map(id, entries))
        try:
            await reschedule(self, entries)
        finally:
            unguarded.difference_update(map(id, entries))

    def stale(self: MemoryAggregates[Any], entry: LoadedAggregate[Any]) -> bool:
        return id(entry) not in unguarded and is_stale(self, entry)

    patch.setattr(Engine, "reschedule", rescheduled)
    patch.setattr(MemoryAggregates, "is_stale", stale)


def never_quarantine(patch: Patch) -> None:
    patch.setattr(saga.messaging.poison, "QUARANTINE_AFTER", 1_000)


def dead_letter_every_quarantined_message(patch: Patch) -> None:
    patch.setattr(saga.messaging.poison, "POISON_AFTER", 0)

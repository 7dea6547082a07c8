"""Mutants of the kernel, and of what the simulation replaces: broker and store."""

from collections.abc import Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import saga.messaging.poison
import saga.reactions.engine
from events.catalogue import (
    Event,
)
from events.codec import from_json
from saga.errors import Unavailable
from saga.messaging.consumer import BatchConsumer
from saga.messaging.message import Delivery, Message
from saga.messaging.publisher import Publisher
from saga.messaging.subscription import Subscription
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate
from saga.timers.nudge import Nudge
from saga.timers.relay import Relay
from tests.simulation.mutants.patching import Patch
from verification.simulation.broker import Connection, MemorySubscription
from verification.simulation.store import MemoryAggregates, StoredRow


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

    def repeated(record: JournalEntry | None) -> list[Event]:
        known = [from_json(fields) for fields in record.emitted] if record else []
        return [one.model_copy(update={"event_id": f"drawn-{next(numbers)}"}) for one in known]

    patch.setattr(saga.reactions.engine, "_events", repeated)


def forget_the_journal(patch: Patch) -> None:
    entry = MemoryAggregates.entry

    def forgetful(self: MemoryAggregates[Any], key: str, row: StoredRow) -> LoadedAggregate[Any]:
        found: LoadedAggregate[Any] = entry(self, key, row)
        found.journal.clear()
        return found

    patch.setattr(MemoryAggregates, "entry", forgetful)


def never_relay(patch: Patch) -> None:
    async def sweep(self: Relay) -> None:
        return None

    patch.setattr(Relay, "sweep", sweep)


def never_nudge(patch: Patch) -> None:
    async def sweep(self: Nudge) -> None:
        return None

    patch.setattr(Nudge, "sweep", sweep)


def never_quarantine(patch: Patch) -> None:
    patch.setattr(saga.messaging.poison, "QUARANTINE_AFTER", 1_000)


def dead_letter_every_quarantined_message(patch: Patch) -> None:
    patch.setattr(saga.messaging.poison, "POISON_AFTER", 0)

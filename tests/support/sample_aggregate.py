"""An aggregate for the tests of stores, with everything that is hard to store."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from events.catalogue import Event, InventoryConfirmed
from events.encoded import EncodedEvent
from events.identity import with_identity
from events.types import Money, Timestamp
from events.values import Item
from saga.reactions.aggregate import Aggregate
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate
from tests.support.clock import START


class SampleAggregate(Aggregate):
    """See the module; in the status `waiting` it waits for an answer."""

    amount: Money = Decimal(0)
    moment: Timestamp = START
    items: tuple[Item, ...] = ()
    due: Timestamp | None = None

    @property
    def unanswered_requests(self) -> tuple[type[Event], ...]:
        return (InventoryConfirmed,) if self.status == "waiting" else ()

    @property
    def due_at(self) -> datetime | None:
        return self.due


class SampleStore(Protocol):
    """What `save` needs of a store."""

    async def fetch(self, keys: Collection[str]) -> dict[str, LoadedAggregate[SampleAggregate]]: ...
    async def write(self, entries: Collection[LoadedAggregate[SampleAggregate]]) -> set[str]: ...


def sample(key: str, status: str = "new", **fields: object) -> SampleAggregate:
    return SampleAggregate.model_validate(
        {"order_id": key, "correlation_id": key, "status": status, **fields}
    )


def confirmed(key: str) -> InventoryConfirmed:
    return InventoryConfirmed(order_id=key)


def change(
    entry: LoadedAggregate[SampleAggregate],
    status: str,
    *drafts: Event,
    relayed: bool = False,
    **fields: object,
) -> list[str]:
    """Change an entry as the engine does, recorded under the new status; return the ids of its events."""
    events = [
        EncodedEvent.of(event)
        for event in with_identity(
            drafts,
            record_id=f"{entry.key}-{status}",
            caused_by=None,
            correlation_id=entry.key,
            occurred_at=START,
        )
    ]
    ids = tuple(event.event_id for event in events)
    entry.state = sample(entry.key, status, **fields)
    entry.journal[status] = JournalEntry(
        status, START, status, tuple(event.body for event in events), ids if relayed else ()
    )
    entry.changed = True
    return list(ids)


async def save(
    store: SampleStore,
    key: str,
    status: str,
    *drafts: Event,
    wake_at: datetime | None = None,
    **fields: Any,
) -> list[str]:
    """Load, change and save one aggregate; return the ids of its new events."""
    entry = (await store.fetch([key]))[key]
    ids = change(entry, status, *drafts, **fields)
    entry.wake_at = wake_at
    assert await store.write([entry]) == set()
    return ids

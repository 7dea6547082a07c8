"""The store of the inventory service in MongoDB, asked by its application."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

from events.catalogue import Event, InventoryReservationRequested
from events.codec import decode
from events.values import Item
from inventory_service.application import InventoryApplication
from inventory_service.mongo_store import InventoryStore
from saga.clock import utc_now
from saga.messaging.results import Deferred, Handled, Result
from saga.mongodb.client import Client, Database
from saga.reactions.application import Surroundings
from tests.support.clock import START

HOLD = timedelta(minutes=10)


def replica(client: Client, db: Database) -> InventoryStore:
    """Return the store of one replica of the service."""
    return InventoryStore(client, db, utc_now, HOLD, f"replica-{uuid4().hex[:8]}")


async def answers(store: InventoryStore, requests: Sequence[Event]) -> list[Event]:
    """Handle a batch; return the events to publish."""
    return [
        event for result in await application(store).handle(requests) for event in await published(result)
    ]


def application(store: InventoryStore) -> InventoryApplication:
    """Return the application of one replica of the service, without a relay."""
    return InventoryApplication(store, Surroundings(utc_now, lambda events: None))


async def published(result: Result) -> list[Event]:
    """Return the events to publish for a message, once it is handled."""
    settled = await result.result if isinstance(result, Deferred) else result
    assert isinstance(settled, Handled), settled
    return [decode(event.body.encode()) for event in settled.publish]


def request(product: str, quantity: int = 1, order_id: str | None = None) -> InventoryReservationRequested:
    order_id = order_id or uuid4().hex
    return InventoryReservationRequested(
        event_id=f"asked-{order_id}",
        correlation_id=order_id,
        occurred_at=START,
        order_id=order_id,
        user_id="u-1",
        items=(Item(product_id=product, quantity=quantity),),
        total_amount=Decimal("25.00"),
    )


async def parts(store: InventoryStore, product: str, warehouse: str = "berlin") -> tuple[int, int, int]:
    found = (await store.levels([product], warehouse))[0]
    return found.available, found.reserved, found.allocated

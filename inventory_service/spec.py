"""What the inventory service consists of."""

from datetime import timedelta

from events.catalogue import INVENTORY
from inventory_service.mongo_store import InventoryStore
from inventory_service.reactions import REACTIONS, TRANSITIONS
from inventory_service.settings import InventorySettings
from saga.clock import utc_now
from saga.mongodb.client import Database
from saga.spec import ServiceSpec


def _open_store(database: Database, settings: InventorySettings) -> InventoryStore:
    return InventoryStore(
        database.client,
        database,
        utc_now,
        timedelta(seconds=settings.hold_seconds),
        settings.replica_name(),
        settings.band_km,
        settings.archived_after(),
    )


SPEC = ServiceSpec(INVENTORY, InventorySettings, REACTIONS, TRANSITIONS, _open_store)

"""Runs the reactions of the inventory service: for events, for HTTP requests, and for the clock."""

from collections.abc import Callable
from datetime import datetime

from events.catalogue import INVENTORY
from inventory_service.mongo_store import InventoryStore
from inventory_service.reactions import REACTIONS, TRANSITIONS, ReservationContext
from inventory_service.reservation import Reservation
from saga.reactions.application import Application
from saga.reactions.engine import Engine
from saga.timers.relay import Relay

DUE_LIMIT = 200


class InventoryApplication(Application[Reservation, ReservationContext]):
    """The inventory service without its doors."""

    def __init__(self, store: InventoryStore, relay: Relay, clock: Callable[[], datetime]) -> None:
        super().__init__(INVENTORY, REACTIONS, TRANSITIONS, Engine(INVENTORY, store, clock), relay)
        self.store = store

    async def expire_due(self) -> None:
        """Give back the holds whose time is up."""
        await self.transit_all("expired", await self.store.due(DUE_LIMIT))

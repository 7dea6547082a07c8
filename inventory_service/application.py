"""Runs the reactions of the inventory service: for events, HTTP requests and the expiry of holds."""

from collections.abc import Callable, Sequence
from datetime import datetime

from events.catalogue import INVENTORY
from inventory_service.reactions import REACTIONS, TRANSITIONS, ReservationContext
from inventory_service.reservation import Reservation
from saga.reactions.application import Application, HandOver, Sweep
from saga.reactions.store import AggregateStore

DUE_LIMIT = 200


class InventoryApplication(Application[Reservation, ReservationContext]):
    """The inventory service without HTTP API and broker."""

    def __init__(
        self,
        store: AggregateStore[Reservation, ReservationContext],
        hand_over: HandOver,
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(INVENTORY, REACTIONS, TRANSITIONS, store, hand_over, clock)

    @property
    def sweeps(self) -> Sequence[Sweep]:
        """Expire holds."""
        return (self.expire_due,)

    async def expire_due(self) -> None:
        """Release the stock of the holds that have expired."""
        await self.transit_all("expired", await self.store.due(DUE_LIMIT))

"""Runs the reactions of the inventory service: for events, HTTP requests and the expiry of holds."""

from collections.abc import Sequence

from events.catalogue import INVENTORY
from inventory_service.context import ReservationContext
from inventory_service.reactions import CONFIRM_DIRECTLY, EXPIRE, HOLD_DIRECTLY, REACTIONS, RELEASE_DIRECTLY
from inventory_service.reservation import Hold, Reservation
from saga.reactions.application import Application, Surroundings
from saga.reactions.store import AggregateStore


class InventoryApplication(Application[Reservation, ReservationContext]):
    """The inventory service without HTTP API and broker."""

    def __init__(self, store: AggregateStore[Reservation, ReservationContext], around: Surroundings) -> None:
        super().__init__(INVENTORY, REACTIONS, store, around)

    async def act_on_time(self, due: Sequence[Reservation]) -> None:
        """Release the stock of the holds that have expired."""
        await self.execute_all(EXPIRE, due)

    async def hold(self, hold: Hold) -> Reservation:
        """Hold stock outside any saga or, with a price, to start one.

        Raises:
            InsufficientStock: there is not enough.
        """
        return await self.execute(HOLD_DIRECTLY, hold.order_id, hold.order_id, hold)

    async def confirm(self, reservation_id: str) -> Reservation:
        """Allocate a hold that belongs to no saga.

        Raises:
            OutOfOrder: there is no such reservation.
            Refused: its state does not allow it.
        """
        return await self.execute(CONFIRM_DIRECTLY, reservation_id, reservation_id)

    async def release(self, reservation_id: str) -> Reservation:
        """Release a hold that belongs to no saga.

        Raises:
            OutOfOrder: there is no such reservation.
            Refused: its state does not allow it.
        """
        return await self.execute(RELEASE_DIRECTLY, reservation_id, reservation_id)

"""Mutants of the inventory service."""

import inventory_service.reactions as inventory
from events.catalogue import (
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationRequested,
)
from inventory_service.context import ReservationContext, StockReaction
from inventory_service.reservation import Reservation
from inventory_service.stock import stock_moves
from saga.reactions.reaction import Reaction
from tests.simulation.mutants.patching import Patch, put
from verification.simulation.stock import MemoryInventory


def leave_no_tombstone(patch: Patch) -> None:
    def release(
        reservation: Reservation | None, event: InventoryReleaseRequested, context: ReservationContext
    ) -> Reaction[Reservation]:
        return inventory.release(reservation, event, context) if reservation else Reaction(None)

    put(patch, inventory.REACTIONS[InventoryReleaseRequested], release)


def release_allocated_stock(patch: Patch) -> None:
    def release(
        reservation: Reservation | None, event: InventoryReleaseRequested, context: ReservationContext
    ) -> Reaction[Reservation]:
        if reservation is None or reservation.status != "allocated":
            return inventory.release(reservation, event, context)
        return StockReaction(
            reservation.model_copy(update={"status": "released"}),
            [InventoryReleased(order_id=event.order_id, reservations=reservation.lines)],
            moves=stock_moves(reservation.lines, allocated=-1, available=1),
        )

    put(patch, inventory.REACTIONS[InventoryReleaseRequested], release)


def hold_again_for_every_request(patch: Patch) -> None:
    put(
        patch,
        inventory.REACTIONS[InventoryReservationRequested],
        lambda reservation, event, context: inventory.reserve(None, event, context),
    )


def expire_and_keep_the_stock(patch: Patch) -> None:
    def expire(reservation: Reservation | None, context: ReservationContext) -> Reaction[Reservation]:
        reaction = inventory.expire(reservation, context)
        return Reaction(reaction.state, reaction.emits)

    put(patch, inventory.EXPIRE, expire)


def confirm_without_a_hold(patch: Patch) -> None:
    def confirm(
        reservation: Reservation | None,
        event: InventoryConfirmationRequested,
        context: ReservationContext,
    ) -> Reaction[Reservation]:
        if reservation is None or reservation.status in ("held", "allocated"):
            return inventory.confirm(reservation, event, context)
        return Reaction(reservation, [InventoryConfirmed(order_id=event.order_id)])

    put(patch, inventory.REACTIONS[InventoryConfirmationRequested], confirm)


def write_stock_unguarded(patch: Patch) -> None:
    patch.setattr(MemoryInventory, "_fits", lambda self, place, total: True)

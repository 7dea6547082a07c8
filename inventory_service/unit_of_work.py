"""The unit of work of the inventory service: reservations, and the stock they are made from."""

from collections.abc import Iterable, Sequence

from events.catalogue import InventoryReservationRequested
from inventory_service.context import ReservationContext, StockReaction
from inventory_service.reservation import Hold, Reservation
from saga.reactions.reaction import Reaction
from saga.reactions.step import Step
from saga.reactions.unit_of_work import LoadedAggregate, UnitOfWork


class ReservationUnitOfWork(UnitOfWork[Reservation, ReservationContext]):
    """What a batch works on."""

    def accept(self, reaction: Reaction[Reservation]) -> None:
        """Let the next reaction of the batch see the stock as this one leaves it."""
        if isinstance(reaction, StockReaction):
            self.context.stock.apply(reaction.moves)


def products_of(
    steps: Sequence[Step[Reservation, ReservationContext]],
    entries: Iterable[LoadedAggregate[Reservation]],
) -> set[str]:
    """Return the products that a batch may move: those of its requests and of its reservations."""
    requests = [
        cause
        for step in steps
        for cause in step.arguments
        if isinstance(cause, InventoryReservationRequested | Hold)
    ]
    reservations = [entry.state for entry in entries if entry.state]
    return {item.product_id for found in (*requests, *reservations) for item in found.items}

"""The unit of work of the inventory service: reservations, and the stock they are made from."""

from collections.abc import Iterator, Mapping, Sequence

from events.catalogue import InventoryConfirmationRequested, InventoryReservationRequested
from events.values import Item
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


def planned_items(
    steps: Sequence[Step[Reservation, ReservationContext]],
    entries: Mapping[str, LoadedAggregate[Reservation]],
) -> Iterator[Item]:
    """Return the items for which a batch may have to make a plan.

    A request is planned when it comes first, and a confirmation once more when the hold has expired.
    """
    for step in steps:
        state = entries[step.key].state
        for cause in step.arguments:
            if isinstance(cause, InventoryReservationRequested | Hold) and state is None:
                yield from cause.items
            elif isinstance(cause, InventoryConfirmationRequested) and state and state.status == "expired":
                yield from state.items

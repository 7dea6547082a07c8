"""Reservations in every state, and how the tests let one react."""

from dataclasses import replace
from typing import Any

from events.catalogue import Event
from inventory_service.context import ReservationContext, StockReaction
from inventory_service.reactions import REACTIONS
from inventory_service.reservation import Hold, Reservation
from inventory_service.stock import StockMove
from saga.reactions.reaction import Reaction
from tests.support.builders import ITEMS, context, event, reservation

HELD = reservation()
ALLOCATED = reservation(status="allocated", confirmation_record="e-confirm")
EXPIRED = reservation(status="expired")
REJECTED = reservation(status="rejected", lines=(), expires_at=None)
RELEASED = reservation(status="released", release_record="e-release")
TOMBSTONE = Reservation(
    order_id="o-1", correlation_id="c-1", status="released", release_record="e-InventoryReleaseRequested"
)
HELD_DIRECTLY = reservation(saga=False, total_amount=None, request_record=None)
ALLOCATED_DIRECTLY = HELD_DIRECTLY.model_copy(update={"status": "allocated"})
RELEASED_DIRECTLY = HELD_DIRECTLY.model_copy(update={"status": "released"})
EXPIRED_DIRECTLY = HELD_DIRECTLY.model_copy(update={"status": "expired"})
SAGA_STATES = {
    "held": HELD,
    "allocated": ALLOCATED,
    "expired": EXPIRED,
    "rejected": REJECTED,
    "released": RELEASED,
    "tombstone": TOMBSTONE,
}
DIRECT_STATES = {
    "held": HELD_DIRECTLY,
    "allocated": ALLOCATED_DIRECTLY,
    "released": RELEASED_DIRECTLY,
    "expired": EXPIRED_DIRECTLY,
}
STOCK_KEY = ("berlin", "tea")
TAKE = StockMove(STOCK_KEY, available=-2, reserved=2)
ALLOCATE = StockMove(STOCK_KEY, reserved=-2, allocated=2)
RELEASE = StockMove(STOCK_KEY, available=2, reserved=-2)


def react(
    before: Reservation | None, kind: type[Event], around: ReservationContext | None = None, **changes: Any
) -> Reaction[Reservation]:
    return REACTIONS[kind](before, event(kind, **changes), around or context())


def moves(reaction: Reaction[Reservation]) -> list[StockMove]:
    return list(reaction.moves) if isinstance(reaction, StockReaction) else []


def hold(**changes: Any) -> Hold:
    asked = Hold(
        order_id="o-1",
        user_id="u-1",
        items=ITEMS,
        user_location=None,
        total_amount=None,
        currency="USD",
        expires_in=None,
        payment_method=None,
    )
    return replace(asked, **changes)

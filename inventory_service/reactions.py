"""The business of the inventory service: what it does on which event.

Each reaction is a pure function of the reservation (None: unknown), the event and the context: the stock and
the time. It returns the new state of the reservation, the events to publish and the stock to move.
"""

from typing import Any

from events.catalogue import (
    DEFAULT_CURRENCY,
    InventoryConfirmationFailed,
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationExpired,
    InventoryReservationFailed,
    InventoryReservationRequested,
    InventoryReserved,
    ReservationFailure,
)
from events.values import Shortage
from inventory_service.allocation import NoPlan, plan
from inventory_service.context import ReservationContext, StockReaction
from inventory_service.reservation import Hold, Reservation
from inventory_service.stock import stock_moves
from saga.errors import OutOfOrder, Refused
from saga.reactions.reaction import Reaction, Reactions, Transition, Transitions, on, table


class InsufficientStock(Refused):
    """There is less stock than requested."""

    def __init__(self, why: NoPlan) -> None:
        super().__init__(why.reason)
        self.shortages = why.shortages


def reserve(
    reservation: Reservation | None, request: InventoryReservationRequested, context: ReservationContext
) -> Reaction[Reservation]:
    """Hold every line or none; a repeated request gets the first answer again."""
    if reservation is None:
        return _hold(request, context)
    if reservation.request_record:
        return Reaction(reservation, repeat_of=reservation.request_record)
    return _join_saga(reservation, request)


def confirm(
    reservation: Reservation | None, event: InventoryConfirmationRequested, context: ReservationContext
) -> Reaction[Reservation]:
    """Allocate the held stock; after the hold has expired, allocate available stock, if there is enough."""
    if reservation is None:
        raise OutOfOrder("confirmation of an unknown reservation")
    if reservation.status == "allocated" and reservation.confirmation_record:
        return Reaction(reservation, repeat_of=reservation.confirmation_record)
    joined = reservation.model_copy(update={"saga": True, "confirmation_record": event.event_id})
    confirmed = InventoryConfirmed(order_id=event.order_id, reservations=reservation.lines)
    if reservation.status == "allocated":
        return Reaction(joined, [confirmed])
    if reservation.status == "held":
        allocated = joined.model_copy(update={"status": "allocated"})
        return StockReaction(
            allocated, [confirmed], moves=stock_moves(reservation.lines, reserved=-1, allocated=1)
        )
    if reservation.status == "expired":
        return _reallocate(joined, event, context)
    refusal = InventoryConfirmationFailed(order_id=event.order_id, reason=f"reservation_{reservation.status}")
    return Reaction(reservation, [refusal])


def release(
    reservation: Reservation | None, event: InventoryReleaseRequested, context: ReservationContext
) -> Reaction[Reservation]:
    """Release the stock. A release that comes before its request leaves a tombstone."""
    if reservation is None:
        reservation = Reservation(
            order_id=event.order_id, correlation_id=str(event.correlation_id), status="rejected"
        )
    if reservation.release_record:
        return Reaction(reservation, repeat_of=reservation.release_record)
    if reservation.status == "allocated":
        return _keep_allocated(reservation, event)
    released = reservation.model_copy(
        update={"status": "released", "saga": True, "release_record": event.event_id}
    )
    lines = reservation.lines if reservation.status == "held" else ()
    return StockReaction(
        released,
        [InventoryReleased(order_id=event.order_id, reservations=lines)],
        moves=stock_moves(lines, reserved=-1, available=1),
    )


def expire(reservation: Reservation | None, context: ReservationContext) -> Reaction[Reservation]:
    """Release the stock of a hold that was not confirmed in time."""
    if (
        reservation is None
        or reservation.status != "held"
        or reservation.expires_at is None
        or context.now < reservation.expires_at
    ):
        return Reaction(reservation)
    lines = reservation.lines
    return StockReaction(
        reservation.model_copy(update={"status": "expired"}),
        [InventoryReservationExpired(order_id=reservation.order_id, reservations=lines)]
        if reservation.saga
        else [],
        moves=stock_moves(lines, reserved=-1, available=1),
    )


def hold_directly(
    reservation: Reservation | None, hold: Hold, context: ReservationContext
) -> Reaction[Reservation]:
    """Hold stock for a client of the HTTP API.

    Raises:
        InsufficientStock: there is not enough; the reservation is not stored.
    """
    if reservation is not None:
        return Reaction(reservation)
    lines = plan(hold.order_id, hold.items, hold.user_location, context.stock, context.band_km)
    if isinstance(lines, NoPlan):
        raise InsufficientStock(lines)
    held = Reservation(
        order_id=hold.order_id,
        correlation_id=hold.order_id,
        status="held",
        saga=hold.total_amount is not None,
        user_id=hold.user_id,
        items=hold.items,
        user_location=hold.user_location,
        total_amount=hold.total_amount,
        currency=hold.currency,
        payment_method=hold.payment_method,
        lines=lines,
        expires_at=context.expiry(hold.expires_in),
        request_record=None if hold.total_amount is None else hold.record_id,
    )
    return StockReaction(
        held, [_reserved(held)] if held.saga else [], moves=stock_moves(lines, available=-1, reserved=1)
    )


def confirm_directly(reservation: Reservation | None, context: ReservationContext) -> Reaction[Reservation]:
    """Allocate a hold that belongs to no saga.

    Raises:
        OutOfOrder: there is no such reservation.
        Refused: it belongs to a saga, or is no longer held.
    """
    reservation = _require_direct(reservation)
    if reservation.status == "allocated":
        return Reaction(reservation)
    if reservation.status != "held":
        raise Refused(f"the reservation is {reservation.status}")
    allocated = reservation.model_copy(update={"status": "allocated"})
    return StockReaction(allocated, moves=stock_moves(reservation.lines, reserved=-1, allocated=1))


def release_directly(reservation: Reservation | None, context: ReservationContext) -> Reaction[Reservation]:
    """Release a hold that belongs to no saga.

    Raises:
        OutOfOrder: there is no such reservation.
        Refused: it belongs to a saga, or is allocated.
    """
    reservation = _require_direct(reservation)
    if reservation.status == "allocated":
        raise Refused("the reservation is allocated")
    if reservation.status != "held":
        return Reaction(reservation)
    released = reservation.model_copy(update={"status": "released"})
    return StockReaction(released, moves=stock_moves(reservation.lines, reserved=-1, available=1))


def _hold(request: InventoryReservationRequested, context: ReservationContext) -> Reaction[Reservation]:
    lines = plan(request.order_id, request.items, request.user_location, context.stock, context.band_km)
    reservation = Reservation(
        order_id=request.order_id,
        correlation_id=str(request.correlation_id),
        status="rejected",
        user_id=request.user_id,
        items=request.items,
        user_location=request.user_location,
        total_amount=request.total_amount,
        currency=request.currency,
        payment_method=request.payment_method,
        request_record=request.event_id,
    )
    if isinstance(lines, NoPlan):
        return Reaction(reservation, [_not_reserved(request, lines.reason, lines.shortages)])
    held = reservation.model_copy(
        update={
            "status": "held",
            "lines": lines,
            "expires_at": context.expiry(request.expires_in),
        }
    )
    return StockReaction(held, [_reserved(held)], moves=stock_moves(lines, available=-1, reserved=1))


def _join_saga(reservation: Reservation, request: InventoryReservationRequested) -> Reaction[Reservation]:
    """Answer the first request for a reservation that exists: a tombstone, or a direct hold.

    The saga takes a direct hold over; the answer says what is held, and the saga decides whether it fits.
    """
    joined = reservation.model_copy(
        update={
            "saga": True,
            "correlation_id": request.correlation_id,
            "total_amount": request.total_amount,
            "currency": request.currency,
            "payment_method": request.payment_method,
            "request_record": request.event_id,
        }
    )
    if reservation.status != "held":
        return Reaction(joined, [_not_reserved(request, "released")])
    return Reaction(joined, [_reserved(joined)])


def _keep_allocated(reservation: Reservation, event: InventoryReleaseRequested) -> Reaction[Reservation]:
    """Keep what the saga has paid for, and what was allocated directly, of which the saga holds nothing."""
    if reservation.confirmation_record:
        return Reaction(reservation)
    joined = reservation.model_copy(update={"saga": True, "release_record": event.event_id})
    return Reaction(joined, [InventoryReleased(order_id=event.order_id)])


def _reallocate(
    reservation: Reservation, event: InventoryConfirmationRequested, context: ReservationContext
) -> Reaction[Reservation]:
    lines = plan(
        reservation.order_id, reservation.items, reservation.user_location, context.stock, context.band_km
    )
    if isinstance(lines, NoPlan):
        rejected = reservation.model_copy(update={"status": "rejected", "confirmation_record": None})
        return Reaction(
            rejected, [InventoryConfirmationFailed(order_id=event.order_id, reason="reservation_expired")]
        )
    allocated = reservation.model_copy(update={"status": "allocated", "lines": lines})
    return StockReaction(
        allocated,
        [InventoryConfirmed(order_id=event.order_id, reservations=lines)],
        moves=stock_moves(lines, available=-1, allocated=1),
    )


def _require_direct(reservation: Reservation | None) -> Reservation:
    if reservation is None:
        raise OutOfOrder("no such reservation")
    if reservation.saga:
        raise Refused("the reservation belongs to a saga, and only the saga may change it")
    return reservation


def _reserved(held: Reservation) -> InventoryReserved:
    known: dict[str, Any] = {
        "user_id": held.user_id,
        "total_amount": held.total_amount,
        "currency": held.currency or DEFAULT_CURRENCY,
        "expires_at": held.expires_at,
    }
    return InventoryReserved(
        order_id=held.order_id,
        items=held.items,
        payment_method=held.payment_method,
        reservations=held.lines,
        **known,
    )


def _not_reserved(
    request: InventoryReservationRequested, reason: ReservationFailure, shortages: tuple[Shortage, ...] = ()
) -> InventoryReservationFailed:
    return InventoryReservationFailed(
        order_id=request.order_id,
        user_id=request.user_id,
        items=request.items,
        total_amount=request.total_amount,
        currency=request.currency,
        reason=reason,
        shortages=shortages,
    )


REACTIONS: Reactions[Reservation, ReservationContext] = table(
    on(
        InventoryReservationRequested,
        reserve,
        publishes=[InventoryReserved, InventoryReservationFailed],
        creates=True,
    ),
    on(InventoryConfirmationRequested, confirm, publishes=[InventoryConfirmed, InventoryConfirmationFailed]),
    on(InventoryReleaseRequested, release, publishes=[InventoryReleased]),
)

EXPIRE = Transition(expire, publishes=[InventoryReservationExpired])
HOLD_DIRECTLY = Transition(hold_directly, publishes=[InventoryReserved], creates=True)
CONFIRM_DIRECTLY = Transition(confirm_directly)
RELEASE_DIRECTLY = Transition(release_directly)
TRANSITIONS: Transitions[Reservation, ReservationContext] = (
    EXPIRE,
    HOLD_DIRECTLY,
    CONFIRM_DIRECTLY,
    RELEASE_DIRECTLY,
)
"""What no event causes: the clock, or a request over HTTP."""

"""The business of the order service: what it does on which event.

Each reaction is a pure function of the order (None: unknown), the event and the time. It returns the new
state of the order and the events to publish. Events arrive in any order and any number of times; a reaction
that does not concern the order's status returns the order unchanged.
"""

from datetime import datetime
from typing import Any

from events.catalogue import (
    Event,
    InventoryConfirmationFailed,
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationExpired,
    InventoryReservationFailed,
    InventoryReservationRequested,
    InventoryReserved,
    OrderCreated,
    OrderFailed,
    OrderFailure,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentRequested,
)
from order_service.order import GRACE, Order
from saga.errors import OutOfOrder, Refused
from saga.reactions.reaction import Reaction, Reactions, Transition, Transitions, on, table


def adopt(order: Order | None, request: InventoryReservationRequested, now: datetime) -> Reaction[Order]:
    """Adopt the order of a saga that another client started; an order that is known stays as it is."""
    return Reaction(order or Order.from_request(request, now).model_copy(update={"request": request}))


def ask_for_payment(order: Order | None, event: InventoryReserved, now: datetime) -> Reaction[Order]:
    """Request the payment for the held stock, unless the stock is not what was ordered."""
    order = order or Order.from_reservation(event, now)
    if order.status != "pending":
        return Reaction(order)
    if not order.matches(event.items, event.total_amount, event.currency, event.user_id):
        return _compensate(order, "conflicting_request", release=True)
    request = PaymentRequested(
        order_id=order.order_id,
        user_id=order.user_id,
        amount=order.total_amount,
        currency=order.currency,
        idempotency_key=f"order-{order.order_id}",
        payment_method=order.payment_method,
        expires_at=event.expires_at,
    )
    return Reaction(
        order.model_copy(
            update={"status": "reserved", "payment": "awaited", "deadline": event.expires_at + GRACE}
        ),
        [request],
    )


def fail_for_lack_of_stock(
    order: Order | None, event: InventoryReservationFailed, now: datetime
) -> Reaction[Order]:
    """Fail the order: no stock was held, so there is nothing to compensate."""
    if order is None:
        order = Order(
            order_id=event.order_id,
            correlation_id=event.correlation_id or event.order_id,
            user_id=event.user_id,
            items=event.items,
            total_amount=event.total_amount,
            currency=event.currency,
            created_at=now,
            deadline=now + GRACE,
        )
    if order.status != "pending":
        return Reaction(order)
    return _compensate(order, event.reason)


def ask_for_confirmation(order: Order | None, event: PaymentCompleted, now: datetime) -> Reaction[Order]:
    """Request the allocation of the held stock; refund a payment that came too late, or of another amount."""
    order = _known(order, event)
    if order.payment not in ("none", "awaited"):
        return Reaction(order)
    paid = order.model_copy(update={"payment": "completed", "payment_id": event.payment_id})
    if order.status == "reserved":
        if (event.amount, event.currency) != (order.total_amount, order.currency):
            return _compensate(paid, "conflicting_payment", release=True, refund=True)
        return Reaction(
            paid.model_copy(update={"status": "paid"}),
            [InventoryConfirmationRequested(order_id=order.order_id)],
        )
    if order.status == "compensating":
        return _compensate(paid, order.reason or "compensating", refund=True)
    return Reaction(order)


def release_for_lack_of_payment(order: Order | None, event: PaymentFailed, now: datetime) -> Reaction[Order]:
    """Release the stock of an order whose payment was declined."""
    order = _known(order, event)
    if order.payment != "awaited":
        return Reaction(order)
    declined = order.model_copy(update={"payment": "failed"})
    if order.status == "reserved":
        return _compensate(declined, event.reason, release=True)
    return _finish(declined)


def succeed(order: Order | None, event: InventoryConfirmed, now: datetime) -> Reaction[Order]:
    """Confirm the order, which is paid, with its stock allocated."""
    order = _known(order, event)
    if order.status != "paid" or order.payment_id is None:
        return Reaction(order)
    created = OrderCreated(
        order_id=order.order_id,
        user_id=order.user_id,
        items=order.items,
        total_amount=order.total_amount,
        currency=order.currency,
        payment_id=order.payment_id,
    )
    return Reaction(order.model_copy(update={"status": "confirmed"}), [created])


def refund_for_lack_of_stock(
    order: Order | None, event: InventoryConfirmationFailed, now: datetime
) -> Reaction[Order]:
    """Refund an order whose stock is no longer available."""
    order = _known(order, event)
    if order.status != "paid":
        return Reaction(order)
    return _compensate(order, event.reason, refund=True)


def fail_for_an_expired_hold(
    order: Order | None, event: InventoryReservationExpired, now: datetime
) -> Reaction[Order]:
    """Fail an order whose hold has expired. If it is paid, inventory's next answer decides instead."""
    order = _known(order, event)
    if order.status not in ("pending", "reserved"):
        return Reaction(order)
    return _compensate(order, "reservation_expired")


def settle_release(order: Order | None, event: InventoryReleased, now: datetime) -> Reaction[Order]:
    """Record that the stock was released."""
    order = _known(order, event)
    if order.release != "awaited":
        return Reaction(order)
    return _finish(order.model_copy(update={"release": "settled"}))


def settle_refund(order: Order | None, event: PaymentRefunded, now: datetime) -> Reaction[Order]:
    """Record that the payment was refunded, or will never be made."""
    order = _known(order, event)
    if order.refund != "awaited":
        return Reaction(order)
    update = {"refund": "settled", "status": "compensating", "refund_failure": None}
    if order.payment == "awaited":
        update["payment"] = "failed"
    return _finish(order.model_copy(update=update))


def await_manual_refund(order: Order | None, event: PaymentRefundFailed, now: datetime) -> Reaction[Order]:
    """Wait, since the provider refuses the refund, until a retry succeeds or an operator settles it."""
    order = _known(order, event)
    if order.refund != "awaited" or order.status != "compensating":
        return Reaction(order)
    return Reaction(order.model_copy(update={"status": "refundPending", "refund_failure": event.reason}))


def place(order: Order | None, request: InventoryReservationRequested, now: datetime) -> Reaction[Order]:
    """Start a saga; an order that exists is left as it is."""
    if order is not None:
        return Reaction(order)
    return Reaction(Order.from_request(request, now), [request])


def cancel(order: Order | None, now: datetime) -> Reaction[Order]:
    """Compensate what was done so far.

    Raises:
        OutOfOrder: there is no such order.
        Refused: it is paid, has ended, or is failing.
    """
    if order is None:
        raise OutOfOrder("no such order")
    if order.status in ("pending", "reserved"):
        return _give_up(order, "cancelled", "cancelled")
    if order.ends_as == "cancelled":
        return Reaction(order)
    raise Refused(f"the order is {order.status}: it can be cancelled only before it is paid")


def miss_deadline(order: Order | None, now: datetime) -> Reaction[Order]:
    """Give up on an order that is undecided at its deadline."""
    if order is None or order.status not in ("pending", "reserved") or now < order.deadline:
        return Reaction(order)
    return _give_up(order, "deadline_exceeded", "failed")


def _known(order: Order | None, event: Event) -> Order:
    if order is None:
        raise OutOfOrder(f"{event.type} of an unknown order")
    return order


def _give_up(order: Order, reason: str, ends_as: OrderFailure) -> Reaction[Order]:
    # A requested payment may complete at any time: requesting its refund settles it either way.
    update = {"ends_as": ends_as}
    return _compensate(
        order.model_copy(update=update), reason, release=True, refund=order.status == "reserved"
    )


def _compensate(order: Order, reason: str, *, release: bool = False, refund: bool = False) -> Reaction[Order]:
    """Request these compensations, once each, and end the order when no answer is awaited."""
    emits: list[Event] = []
    update: dict[str, Any] = {"status": "compensating", "reason": reason}
    if release and order.release == "none":
        update["release"] = "awaited"
        emits.append(InventoryReleaseRequested(order_id=order.order_id, reason=reason))
    if refund and order.refund == "none":
        update["refund"] = "awaited"
        emits.append(
            PaymentRefundRequested(
                order_id=order.order_id, amount=order.total_amount, currency=order.currency, reason=reason
            )
        )
    finished = _finish(order.model_copy(update=update))
    return Reaction(finished.state, [*emits, *finished.emits])


def _finish(order: Order) -> Reaction[Order]:
    awaited = "awaited" in (order.release, order.refund, order.payment)
    if awaited or order.status != "compensating":
        return Reaction(order)
    failed = OrderFailed(
        order_id=order.order_id,
        user_id=order.user_id,
        reason=order.reason or order.ends_as,
        status=order.ends_as,
    )
    return Reaction(order.model_copy(update={"status": order.ends_as}), [failed])


REACTIONS: Reactions[Order, datetime] = table(
    on(InventoryReservationRequested, adopt, creates=True),
    on(InventoryReserved, ask_for_payment, publishes=[PaymentRequested, InventoryReleaseRequested]),
    on(InventoryReservationFailed, fail_for_lack_of_stock, publishes=[OrderFailed]),
    on(
        PaymentCompleted,
        ask_for_confirmation,
        publishes=[InventoryConfirmationRequested, InventoryReleaseRequested, PaymentRefundRequested],
    ),
    on(PaymentFailed, release_for_lack_of_payment, publishes=[InventoryReleaseRequested, OrderFailed]),
    on(InventoryConfirmed, succeed, publishes=[OrderCreated]),
    on(InventoryConfirmationFailed, refund_for_lack_of_stock, publishes=[PaymentRefundRequested]),
    on(InventoryReservationExpired, fail_for_an_expired_hold, publishes=[OrderFailed]),
    on(InventoryReleased, settle_release, publishes=[OrderFailed]),
    on(PaymentRefunded, settle_refund, publishes=[OrderFailed]),
    on(PaymentRefundFailed, await_manual_refund),
)

PLACE = Transition(place, publishes=[InventoryReservationRequested], creates=True)
CANCEL = Transition(cancel, publishes=[InventoryReleaseRequested, PaymentRefundRequested])
MISS_DEADLINE = Transition(miss_deadline, publishes=[InventoryReleaseRequested, PaymentRefundRequested])
TRANSITIONS: Transitions[Order, datetime] = (PLACE, CANCEL, MISS_DEADLINE)
"""What no event causes: a customer's request, or the clock."""

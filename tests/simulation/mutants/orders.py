"""Mutants of the order service."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import order_service.reactions as orders
import saga.messaging.consumer
import saga.reactions.engine
from events.catalogue import (
    Event,
    InventoryReservationExpired,
    InventoryReservationRequested,
    PaymentRefundFailed,
)
from events.identity import with_identity
from order_service.order import Order
from saga.reactions.reaction import Reaction
from tests.simulation.mutants.patching import Patch, put


def as_reserved(order: Order | None) -> Order | None:
    return order.model_copy(update={"status": "reserved"}) if order and order.status == "paid" else order


def adopt_other_content(patch: Patch) -> None:
    patch.setattr(Order, "matches", lambda self, *content: True)


def await_no_payment_after_expiry(patch: Patch) -> None:
    def fail(order: Order | None, event: InventoryReservationExpired, now: datetime) -> Reaction[Order]:
        if order and order.status == "reserved":
            order = order.model_copy(update={"payment": "failed"})
        return orders.fail_for_an_expired_hold(order, event, now)

    put(patch, orders.REACTIONS[InventoryReservationExpired], fail)


def cancel_a_paid_order(patch: Patch) -> None:
    put(patch, orders.CANCEL, lambda order, now: orders.cancel(as_reserved(order), now))


def miss_deadline_of_a_paid_order(patch: Patch) -> None:
    put(
        patch,
        orders.MISS_DEADLINE,
        lambda order, now: orders.miss_deadline(as_reserved(order), now),
    )


def fail_a_paid_order_for_an_expired_hold(patch: Patch) -> None:
    def fail(order: Order | None, event: InventoryReservationExpired, now: datetime) -> Reaction[Order]:
        if order and order.status == "paid":
            return orders._compensate(order, "reservation_expired", refund=True)
        return orders.fail_for_an_expired_hold(order, event, now)

    put(patch, orders.REACTIONS[InventoryReservationExpired], fail)


def release_no_stock_at_the_deadline(patch: Patch) -> None:
    def miss(order: Order | None, now: datetime) -> Reaction[Order]:
        if order is None or order.status not in ("pending", "reserved"):
            return Reaction(order)
        return orders._compensate(order, "deadline_exceeded", refund=order.status == "reserved")

    put(patch, orders.MISS_DEADLINE, miss)


def ignore_a_refused_refund(patch: Patch) -> None:
    put(patch, orders.REACTIONS[PaymentRefundFailed], lambda order, event, now: Reaction(order))


def fail_with_a_refused_refund(patch: Patch) -> None:
    def fail(order: Order, event: PaymentRefundFailed, now: datetime) -> Reaction[Order]:
        return orders._finish(order.model_copy(update={"refund": "settled"}))

    put(patch, orders.REACTIONS[PaymentRefundFailed], fail)


def repeat_an_adopted_request(patch: Patch) -> None:
    def adopt(order: Order | None, request: InventoryReservationRequested, now: datetime) -> Reaction[Order]:
        return Reaction(orders.adopt(order, request, now).state, [] if order else [request])

    def as_it_was(drafts: Sequence[Event], **record: Any) -> list[Event]:
        events = with_identity(drafts, **record)
        return [draft if draft.event_id else event for draft, event in zip(drafts, events, strict=True)]

    put(patch, orders.REACTIONS[InventoryReservationRequested], adopt)
    patch.setattr(saga.reactions.engine, "with_identity", as_it_was)


def nudge_only_one_request(patch: Patch) -> None:
    unanswered_requests: Any = vars(Order)["unanswered_requests"]
    patch.setattr(Order, "unanswered_requests", property(lambda order: unanswered_requests.fget(order)[:1]))


def fail_before_compensation_ends(patch: Patch) -> None:
    finish = orders._finish

    def early(order: Order) -> Reaction[Order]:
        update = {"release": "settled", "refund": "settled", "payment": "failed"}
        return finish(order.model_copy(update=update) if order.status == "compensating" else order)

    patch.setattr(orders, "_finish", early)

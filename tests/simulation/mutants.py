"""Mistakes that somebody could make in the services, for the proofs to find."""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

import inventory_service.reactions as inventory
import order_service.reactions as orders
import payment_service.reactions as payments
import saga.messaging.poison
import saga.reactions.engine
from events.catalogue import (
    EVENT_TYPES,
    Event,
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationExpired,
    InventoryReservationRequested,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentRequested,
)
from events.codec import from_json
from events.identity import with_identity
from inventory_service.reservation import Reservation
from order_service.order import Order
from payment_service.application import PaymentApplication
from payment_service.payment import Payment
from payment_service.providers.base import ChargeAnswer, Declined, Pending, RefundAnswer, RefundRefused
from saga.errors import Unavailable
from saga.messaging.consumer import BatchConsumer
from saga.messaging.message import Delivery, Message
from saga.messaging.publisher import Publisher
from saga.messaging.subscription import Subscription
from saga.reactions.reaction import Reaction, Rule
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate
from saga.timers.nudge import Nudge
from saga.timers.relay import Relay
from verification.simulation.broker import Connection, MemorySubscription
from verification.simulation.stock import MemoryInventory
from verification.simulation.store import MemoryAggregates, Row

Patch = pytest.MonkeyPatch
ANYTHING = EVENT_TYPES.values()
PURSUE = PaymentApplication._drive_to_answer


def put(patch: Patch, rule: Rule[Any, Any, *tuple[Any, ...]], react: Callable[..., Any]) -> None:
    """Have a rule call another function, which may publish whatever the services' reactions may."""
    patch.setattr(rule, "react", react)
    patch.setattr(rule, "publishes", ANYTHING)


def take_other_content(patch: Patch) -> None:
    patch.setattr(Order, "wants", lambda self, *content: True)


def await_no_payment_after_an_expiry(patch: Patch) -> None:
    def fail(order: Order | None, event: InventoryReservationExpired, now: datetime) -> Reaction[Order]:
        if order and order.status == "reserved":
            order = order.model_copy(update={"payment": "failed"})
        return orders.fail_for_an_expired_hold(order, event, now)

    put(patch, orders.REACTIONS[InventoryReservationExpired], fail)


def cancel_what_is_paid(patch: Patch) -> None:
    put(patch, orders.CANCEL, lambda order, now: orders.cancel(as_reserved(order), now))


def miss_the_deadline_of_what_is_paid(patch: Patch) -> None:
    put(
        patch,
        orders.MISS_DEADLINE,
        lambda order, now: orders.miss_deadline(as_reserved(order), now),
    )


def fail_what_is_paid_for_an_expired_hold(patch: Patch) -> None:
    def fail(order: Order | None, event: InventoryReservationExpired, now: datetime) -> Reaction[Order]:
        if order and order.status == "paid":
            return orders._compensate(order, "reservation_expired", refund=True)
        return orders.fail_for_an_expired_hold(order, event, now)

    put(patch, orders.REACTIONS[InventoryReservationExpired], fail)


def release_nothing_at_the_deadline(patch: Patch) -> None:
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


def leave_no_tombstone(patch: Patch) -> None:
    def release(
        reservation: Reservation | None, event: InventoryReleaseRequested, world: inventory.ReservationContext
    ) -> Reaction[Reservation]:
        return inventory.release(reservation, event, world) if reservation else Reaction(None)

    put(patch, inventory.REACTIONS[InventoryReleaseRequested], release)


def release_what_is_allocated(patch: Patch) -> None:
    def release(
        reservation: Reservation | None, event: InventoryReleaseRequested, world: inventory.ReservationContext
    ) -> Reaction[Reservation]:
        if reservation is None or reservation.status != "allocated":
            return inventory.release(reservation, event, world)
        return inventory.StockReaction(
            reservation.model_copy(update={"status": "released"}),
            [InventoryReleased(order_id=event.order_id, reservations=reservation.lines)],
            moves=inventory._moves(reservation.lines, allocated=-1, available=1),
        )

    put(patch, inventory.REACTIONS[InventoryReleaseRequested], release)


def hold_again_for_every_request(patch: Patch) -> None:
    put(
        patch,
        inventory.REACTIONS[InventoryReservationRequested],
        lambda reservation, event, world: inventory.reserve(None, event, world),
    )


def expire_and_keep_the_stock(patch: Patch) -> None:
    def expire(reservation: Reservation | None, world: inventory.ReservationContext) -> Reaction[Reservation]:
        reaction = inventory.expire(reservation, world)
        return Reaction(reaction.state, reaction.emits)

    put(patch, inventory.EXPIRE, expire)


def charge_after_a_void(patch: Patch) -> None:
    def charge(payment: Payment | None, event: PaymentRequested, now: datetime) -> Reaction[Payment]:
        return payments.charge(None if payment and payment.status == "void" else payment, event, now)

    put(patch, payments.REACTIONS[PaymentRequested], charge)


def leave_no_void(patch: Patch) -> None:
    def refund(payment: Payment | None, event: PaymentRefundRequested, now: datetime) -> Reaction[Payment]:
        return payments.refund(payment, event, now) if payment else Reaction(None)

    put(patch, payments.REACTIONS[PaymentRefundRequested], refund)


def take_silence_for_a_refusal(patch: Patch) -> None:
    def unanswered(payment: Payment | None, now: datetime) -> Reaction[Payment]:
        return payments.charge_answered(payment, Declined("silent"), now)

    put(patch, payments.UNANSWERED, unanswered)


def keep_what_is_approved_late(patch: Patch) -> None:
    def answered(payment: Payment, answer: ChargeAnswer, now: datetime) -> Reaction[Payment]:
        if payment.status in ("declined", "void"):
            return Reaction(payment)
        return payments.charge_answered(payment, answer, now)

    put(patch, payments.CHARGE_ANSWERED, answered)


def forget_to_undo_what_is_under_way(patch: Patch) -> None:
    def answered(payment: Payment, answer: ChargeAnswer, now: datetime) -> Reaction[Payment]:
        return payments.charge_answered(
            payment.model_copy(update={"refund_when_charged": False}), answer, now
        )

    put(patch, payments.CHARGE_ANSWERED, answered)


def record_an_answer_beside_its_request(patch: Patch) -> None:
    patch.setattr(payments, "_answer", lambda payment, under, event: Reaction(payment, [event]))


def take_any_refusal_for_the_answer(patch: Patch) -> None:
    def answered(
        payment: Payment, answer: RefundAnswer, attempt: int, retries: payments.Retries, now: datetime
    ) -> Reaction[Payment]:
        return payments.refund_answered(payment, answer, payment.refund_attempt, retries, now)

    put(patch, payments.REFUND_ANSWERED, answered)


def refund_under_a_new_key_after_silence(patch: Patch) -> None:
    def unanswered(payment: Payment | None, now: datetime) -> Reaction[Payment]:
        reaction = payments.unanswered(payment, now)
        if reaction.state is None or reaction.state.status != "refunding":
            return reaction
        another = {"refund_attempt": reaction.state.refund_attempt + 1}
        return Reaction(reaction.state.model_copy(update=another))

    put(patch, payments.UNANSWERED, unanswered)


def take_pending_for_declined(patch: Patch) -> None:
    def answered(payment: Payment | None, answer: ChargeAnswer, now: datetime) -> Reaction[Payment]:
        said = Declined("pending") if isinstance(answer, Pending) else answer
        reaction = payments.charge_answered(payment, said, now)
        if payment and payment.status == "declined":
            return Reaction(payment)
        return reaction

    put(patch, payments.CHARGE_ANSWERED, answered)


def never_ask_about_what_is_pending(patch: Patch) -> None:
    async def pursue(self: PaymentApplication, payment: Payment) -> Payment:
        return payment if payment.pending else await PURSUE(self, payment)

    patch.setattr(PaymentApplication, "_drive_to_answer", pursue)


def refund_what_is_pending_with_another_key(patch: Patch) -> None:
    def answered(
        payment: Payment, answer: RefundAnswer, attempt: int, retries: payments.Retries, now: datetime
    ) -> Reaction[Payment]:
        if isinstance(answer, Pending):
            return payments.refund_answered(payment, RefundRefused("pending"), attempt, retries, now)
        return payments.refund_answered(payment, answer, attempt, retries, now)

    put(patch, payments.REFUND_ANSWERED, answered)


def charge_under_a_new_key(patch: Patch) -> None:
    patch.setattr(Payment, "charge_key", property(lambda self: f"order-{self.unanswered_attempts}"))


def as_reserved(order: Order | None) -> Order | None:
    return order.model_copy(update={"status": "reserved"}) if order and order.status == "paid" else order


def acknowledge_at_once(patch: Patch) -> None:
    take = MemorySubscription.take

    async def taken(self: MemorySubscription, limit: int) -> list[Delivery]:
        deliveries = await take(self, limit)
        for delivery in deliveries:
            self._settle(delivery)
        return deliveries

    patch.setattr(MemorySubscription, "take", taken)


def acknowledge_before_publishing(patch: Patch) -> None:
    process = BatchConsumer._process

    async def processed(
        self: BatchConsumer, batch: Sequence[Delivery], subscription: Subscription, publisher: Publisher
    ) -> None:
        held: list[Message] = []
        patient = SimpleNamespace(check=publisher.check, send=AsyncMock(side_effect=held.extend))
        await process(self, batch, subscription, patient)
        patient.send = publisher.send
        await publisher.send(held)

    patch.setattr(BatchConsumer, "_process", processed)


def publish_without_confirms(patch: Patch) -> None:
    send = Connection.send

    async def sent(self: Connection, messages: Sequence[Message]) -> None:
        try:
            await send(self, messages)
        except Unavailable:
            return

    patch.setattr(Connection, "send", sent)


def guard_no_version(patch: Patch) -> None:
    patch.setattr(MemoryAggregates, "is_stale", lambda self, entry: False)


def guard_no_stock(patch: Patch) -> None:
    patch.setattr(MemoryInventory, "_fits", lambda self, place, total: True)


def repeat_under_other_ids(patch: Patch) -> None:
    numbers = count()

    def repeated(record: JournalEntry | None) -> list[Event]:
        known = [from_json(fields) for fields in record.emitted] if record else []
        return [one.model_copy(update={"event_id": f"drawn-{next(numbers)}"}) for one in known]

    patch.setattr(saga.reactions.engine, "_events", repeated)


def forget_what_was_handled(patch: Patch) -> None:
    entry = MemoryAggregates.entry

    def forgetful(self: MemoryAggregates[Any], key: str, row: Row) -> LoadedAggregate[Any]:
        found: LoadedAggregate[Any] = entry(self, key, row)
        found.journal.clear()
        return found

    patch.setattr(MemoryAggregates, "entry", forgetful)


def forget_the_refund(patch: Patch) -> None:
    def refund(payment: Payment | None, event: PaymentRefundRequested, now: datetime) -> Reaction[Payment]:
        reaction = payments.refund(payment, event, now)
        if payment is None or reaction.state is None or reaction.state.status != "refunding":
            return reaction
        said = PaymentRefunded(order_id=event.order_id, amount=payment.amount, currency=payment.currency)
        return Reaction(reaction.state.model_copy(update={"status": "refunded"}), [said])

    put(patch, payments.REACTIONS[PaymentRefundRequested], refund)


def charge_each_time_under_a_new_key(patch: Patch) -> None:
    numbers = count()
    patch.setattr(Payment, "charge_key", property(lambda self: f"order-{self.order_id}-{next(numbers)}"))


def leave_what_is_left_over(patch: Patch) -> None:
    async def sweep(self: Relay) -> None:
        return None

    patch.setattr(Relay, "sweep", sweep)


def never_nudge(patch: Patch) -> None:
    async def sweep(self: Nudge) -> None:
        return None

    patch.setattr(Nudge, "sweep", sweep)


def confirm_what_is_not_held(patch: Patch) -> None:
    def confirm(
        reservation: Reservation | None,
        event: InventoryConfirmationRequested,
        world: inventory.ReservationContext,
    ) -> Reaction[Reservation]:
        if reservation is None or reservation.status in ("held", "allocated"):
            return inventory.confirm(reservation, event, world)
        return Reaction(reservation, [InventoryConfirmed(order_id=event.order_id)])

    put(patch, inventory.REACTIONS[InventoryConfirmationRequested], confirm)


def fail_before_all_is_undone(patch: Patch) -> None:
    finish = orders._finish

    def early(order: Order) -> Reaction[Order]:
        update = {"release": "settled", "refund": "settled", "payment": "failed"}
        return finish(order.model_copy(update=update) if order.status == "compensating" else order)

    patch.setattr(orders, "_finish", early)


def suspect_nobody(patch: Patch) -> None:
    patch.setattr(saga.messaging.poison, "QUARANTINE_AFTER", 1_000)


def bury_every_suspect(patch: Patch) -> None:
    patch.setattr(saga.messaging.poison, "POISON_AFTER", 0)

"""The search through all that can happen to one order: it finds nothing, and it can find something."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest
from typer.testing import CliRunner

import inventory_service.reactions as inventory
import order_service.reactions as orders
import payment_service.reactions as payments
import reactor.engine
from cli.main import app
from events.catalogue import (
    EVENT_TYPES,
    Event,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationExpired,
    InventoryReservationRequested,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentRequested,
)
from events.identity import stamped
from inventory_service.reservation import Reservation
from order_service.order import Order
from payment_service.payment import Payment
from payment_service.provider import ChargeAnswer, Declined, RefundAnswer
from reactor.step import Reaction, Rule
from simulation.judge import Judge
from simulation.one_order import FAULTS
from simulation.search import search
from simulation.searches import search_all, together

LIMIT = 200_000
Patch = pytest.MonkeyPatch


@pytest.mark.timeout(600)  # half a minute alone on two processors
def test_no_fault_no_class_and_no_pair_of_them_breaks_anything() -> None:
    found = list(search_all(together(), LIMIT))
    for one in found:
        assert one.violation is None, "\n".join([one.name, one.violation, *one.story])
        assert one.complete
        assert one.quiescent
    assert len(found) == 1 + len(FAULTS) + len(FAULTS) * (len(FAULTS) + 1) // 2
    # What was explored when this was written, less a little: a search that sees nothing finds nothing.
    assert sum(one.states for one in found) > 150_000
    assert sum(one.transitions for one in found) > 450_000
    assert max(one.depth for one in found) >= 24


@pytest.mark.parametrize(
    "faults",
    [
        "cancel,late,refuse",
        "cancel,refuse,wipe",
        "deadline,late,wipe",
        "expiry,rival,crash",
        "expiry,wipe,adopt",
    ],
)
def test_three_at_a_time_break_nothing_either(faults: str) -> None:
    found = search(faults.split(","), LIMIT)
    assert found.violation is None, "\n".join([found.violation, *found.story])
    assert found.complete


@pytest.mark.parametrize("fault", FAULTS)
def test_every_class_of_faults_adds_something(fault: str) -> None:
    # A refund is refused only where one is asked for.
    beside = ("cancel",) if fault == "refuse" else ()
    assert search((fault, *beside), LIMIT).transitions > search(beside, LIMIT).transitions


def test_a_fault_named_twice_strikes_twice() -> None:
    once, twice = search(("duplicate",), LIMIT), search(("duplicate", "duplicate"), LIMIT)
    assert twice.complete
    assert twice.violation is None
    assert twice.states > once.states


def put(patch: Patch, table: dict[Any, Rule], key: object, react: Callable[..., Any]) -> None:
    """Put another reaction into a table, which may publish whatever the services' reactions may."""
    patch.setitem(table, key, Rule(react, *ANYTHING))


def take_other_content(patch: Patch) -> None:
    patch.setattr(Order, "wants", lambda self, *content: True)


def await_no_payment_after_an_expiry(patch: Patch) -> None:
    def fail(order: Order | None, event: InventoryReservationExpired, now: datetime) -> Reaction[Order]:
        if order and order.status == "reserved":
            order = order.model_copy(update={"payment": "failed"})
        return orders.fail_for_an_expired_hold(order, event, now)

    put(patch, orders.REACTIONS, InventoryReservationExpired, fail)


def cancel_what_is_paid(patch: Patch) -> None:
    put(patch, orders.TRANSITIONS, "cancelled", lambda order, now: orders.cancel(as_reserved(order), now))


def miss_the_deadline_of_what_is_paid(patch: Patch) -> None:
    put(
        patch,
        orders.TRANSITIONS,
        "deadline",
        lambda order, now: orders.miss_deadline(as_reserved(order), now),
    )


def fail_what_is_paid_for_an_expired_hold(patch: Patch) -> None:
    def fail(order: Order | None, event: InventoryReservationExpired, now: datetime) -> Reaction[Order]:
        if order and order.status == "paid":
            return orders._compensate(order, "reservation_expired", refund=True)
        return orders.fail_for_an_expired_hold(order, event, now)

    put(patch, orders.REACTIONS, InventoryReservationExpired, fail)


def release_nothing_at_the_deadline(patch: Patch) -> None:
    def miss(order: Order | None, now: datetime) -> Reaction[Order]:
        if order is None or order.status not in ("pending", "reserved"):
            return Reaction(order)
        return orders._compensate(order, "deadline_exceeded", refund=order.status == "reserved")

    put(patch, orders.TRANSITIONS, "deadline", miss)


def ignore_a_refused_refund(patch: Patch) -> None:
    put(patch, orders.REACTIONS, PaymentRefundFailed, lambda order, event, now: Reaction(order))


def fail_with_a_refused_refund(patch: Patch) -> None:
    def fail(order: Order, event: PaymentRefundFailed, now: datetime) -> Reaction[Order]:
        return orders._finish(order.model_copy(update={"refund": "settled"}))

    put(patch, orders.REACTIONS, PaymentRefundFailed, fail)


def repeat_an_adopted_request(patch: Patch) -> None:
    def adopt(order: Order | None, request: InventoryReservationRequested, now: datetime) -> Reaction[Order]:
        return Reaction(orders.adopt(order, request, now).state, [] if order else [request])

    def as_it_was(drafts: Sequence[Event], **record: Any) -> list[Event]:
        events = stamped(drafts, **record)
        return [draft if draft.event_id else event for draft, event in zip(drafts, events, strict=True)]

    put(patch, orders.REACTIONS, InventoryReservationRequested, adopt)
    patch.setattr(reactor.engine, "stamped", as_it_was)


def nudge_only_one_request(patch: Patch) -> None:
    owed: Any = vars(Order)["owed"]
    patch.setattr(Order, "owed", property(lambda order: owed.fget(order)[:1]))


def leave_no_tombstone(patch: Patch) -> None:
    def release(
        reservation: Reservation | None, event: InventoryReleaseRequested, world: inventory.World
    ) -> Reaction[Reservation]:
        return inventory.release(reservation, event, world) if reservation else Reaction(None)

    put(patch, inventory.REACTIONS, InventoryReleaseRequested, release)


def release_what_is_allocated(patch: Patch) -> None:
    def release(
        reservation: Reservation | None, event: InventoryReleaseRequested, world: inventory.World
    ) -> Reaction[Reservation]:
        if reservation is None or reservation.status != "allocated":
            return inventory.release(reservation, event, world)
        return inventory.StockReaction(
            reservation.model_copy(update={"status": "released"}),
            [InventoryReleased(order_id=event.order_id, reservations=reservation.lines)],
            moves=inventory._moves(reservation.lines, allocated=-1, available=1),
        )

    put(patch, inventory.REACTIONS, InventoryReleaseRequested, release)


def hold_again_for_every_request(patch: Patch) -> None:
    put(
        patch,
        inventory.REACTIONS,
        InventoryReservationRequested,
        lambda reservation, event, world: inventory.reserve(None, event, world),
    )


def expire_and_keep_the_stock(patch: Patch) -> None:
    def expire(reservation: Reservation | None, world: inventory.World) -> Reaction[Reservation]:
        reaction = inventory.expire(reservation, world)
        return Reaction(reaction.state, reaction.emits)

    put(patch, inventory.TRANSITIONS, "expired", expire)


def charge_after_a_void(patch: Patch) -> None:
    def charge(payment: Payment | None, event: PaymentRequested, now: datetime) -> Reaction[Payment]:
        return payments.charge(None if payment and payment.status == "void" else payment, event, now)

    put(patch, payments.REACTIONS, PaymentRequested, charge)


def leave_no_void(patch: Patch) -> None:
    def refund(payment: Payment | None, event: PaymentRefundRequested, now: datetime) -> Reaction[Payment]:
        return payments.refund(payment, event, now) if payment else Reaction(None)

    put(patch, payments.REACTIONS, PaymentRefundRequested, refund)


def take_silence_for_a_refusal(patch: Patch) -> None:
    def unanswered(payment: Payment | None, now: datetime) -> Reaction[Payment]:
        return payments.charge_answered(payment, Declined("silent"), now)

    put(patch, payments.TRANSITIONS, "unanswered", unanswered)


def keep_what_is_approved_late(patch: Patch) -> None:
    def answered(payment: Payment, answer: ChargeAnswer, now: datetime) -> Reaction[Payment]:
        if payment.status in ("declined", "void"):
            return Reaction(payment)
        return payments.charge_answered(payment, answer, now)

    put(patch, payments.TRANSITIONS, "charge_answered", answered)


def forget_to_undo_what_is_under_way(patch: Patch) -> None:
    def answered(payment: Payment, answer: ChargeAnswer, now: datetime) -> Reaction[Payment]:
        return payments.charge_answered(payment.model_copy(update={"undo": False}), answer, now)

    put(patch, payments.TRANSITIONS, "charge_answered", answered)


def record_an_answer_beside_its_request(patch: Patch) -> None:
    patch.setattr(payments, "_answer", lambda payment, under, event: Reaction(payment, [event]))


def take_any_refusal_for_the_answer(patch: Patch) -> None:
    def answered(payment: Payment, answer: RefundAnswer, attempt: int, now: datetime) -> Reaction[Payment]:
        return payments.refund_answered(payment, answer, payment.refund_attempt, now)

    put(patch, payments.TRANSITIONS, "refund_answered", answered)


def charge_under_a_new_key(patch: Patch) -> None:
    patch.setattr(Payment, "charge_key", property(lambda self: f"order-{self.silences}"))


def as_reserved(order: Order | None) -> Order | None:
    return order.model_copy(update={"status": "reserved"}) if order and order.status == "paid" else order


ANYTHING = EVENT_TYPES.values()


@pytest.mark.parametrize(
    ("mistake", "faults", "steps"),
    [
        (take_other_content, "other", 15),
        (await_no_payment_after_an_expiry, "expiry", 10),
        (cancel_what_is_paid, "cancel", 16),
        (miss_the_deadline_of_what_is_paid, "deadline", 16),
        (fail_what_is_paid_for_an_expired_hold, "expiry", 16),
        (release_nothing_at_the_deadline, "deadline", 5),
        (ignore_a_refused_refund, "cancel,refuse", 14),
        (fail_with_a_refused_refund, "cancel,refuse", 13),
        (repeat_an_adopted_request, "adopt", 15),
        (nudge_only_one_request, "cancel,wipe", 9),
        (leave_no_tombstone, "cancel", 6),
        (release_what_is_allocated, "release", 13),
        (hold_again_for_every_request, "same", 4),
        (expire_and_keep_the_stock, "expiry", 3),
        (charge_after_a_void, "cancel", 13),
        (leave_no_void, "cancel", 12),
        (take_silence_for_a_refusal, "late", 10),
        (keep_what_is_approved_late, "late", 11),
        (forget_to_undo_what_is_under_way, "cancel", 12),
        (record_an_answer_beside_its_request, "wipe", 7),
        (take_any_refusal_for_the_answer, "cancel,late,refuse", 15),
        (charge_under_a_new_key, "late", 7),
    ],
)
def test_a_mistake_is_found_by_the_shortest_way_to_it(
    mistake: Callable[[Patch], None], faults: str, steps: int, monkeypatch: Patch
) -> None:
    mistake(monkeypatch)
    found = search(faults.split(","), LIMIT)
    assert found.violation, f"not found in {found.states} states"
    assert len(found.story) == steps, "\n".join([found.violation, *found.story])


def test_only_a_crash_with_a_wiped_broker_leaves_an_order_without_its_last_event(
    monkeypatch: Patch,
) -> None:
    # Its service died before it could publish that, and the message that would have had it do so is lost.
    monkeypatch.setattr(Judge, "_unheard", lambda self, state: False)
    both = search(("crash", "wipe"), LIMIT)
    assert both.violation == "the order is confirmed, and its last events are []"
    for alone in ("crash", "wipe"):
        assert search((alone, "cancel"), LIMIT).complete


def test_a_search_beyond_its_limit_is_given_up() -> None:
    found = search(("same",), limit=100)
    assert not found.complete
    assert found.violation is None
    assert found.states <= 110


def test_what_never_comes_to_rest_is_found(monkeypatch: Patch) -> None:
    # The nudged request is answered with nothing: it goes round in circles, none of them with a way out.
    record_an_answer_beside_its_request(monkeypatch)
    found = search(("wipe",), LIMIT)
    assert found.violation == "what happens from here never comes to rest"


class TestCommand:
    def test_it_tells_what_it_has_explored(self) -> None:
        result = CliRunner().invoke(app, ["search", "--faults", "crash,expiry"])
        assert result.exit_code == 0
        assert "crash,expiry" in result.output
        assert "every order came to rest, and all books balance" in result.output

    def test_json_holds_every_search_and_the_totals(self) -> None:
        result = CliRunner().invoke(app, ["search", "--faults", "none", "--json"])
        assert result.exit_code == 0
        told = json.loads(result.stdout)
        (one,) = told["searches"]
        assert one["violation"] is None
        assert one["complete"]
        assert told["states"] == one["states"] > 20

    def test_a_violation_is_told_with_the_way_to_it(self, monkeypatch: Patch) -> None:
        leave_no_tombstone(monkeypatch)
        result = CliRunner().invoke(app, ["search", "--faults", "cancel"])
        assert result.exit_code == 1
        assert "the customer CANCELS" in result.output
        assert "Again: saga search --faults cancel" in result.output
        assert "all books balance" not in result.output

    def test_a_search_that_was_given_up_proves_nothing(self) -> None:
        result = CliRunner().invoke(app, ["search", "--faults", "same", "--limit", "50"])
        assert result.exit_code == 1
        assert "try a higher --limit" in result.output

    def test_an_unknown_fault_is_refused_with_those_that_are_known(self) -> None:
        result = CliRunner().invoke(app, ["search", "--faults", "crash,flood"])
        assert result.exit_code == 2
        assert "flood" in result.output
        assert "rival" in result.output

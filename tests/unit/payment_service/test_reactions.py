"""The payment's state table, line by line: one charge and one refund an order, whatever comes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.catalogue import (
    Event,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentRequested,
)
from payment_service.payment import EXPIRY_MARGIN, Payment
from payment_service.providers.base import (
    Action,
    Approved,
    ChargeAnswer,
    Declined,
    Pending,
    RefundAnswer,
    Refunded,
    RefundRefused,
)
from payment_service.reactions import (
    CHARGE_ANSWERED,
    CHARGE_DIRECTLY,
    FIRST_RETRY_AFTER,
    LONGEST_REFUND_PAUSE,
    LONGEST_RETRY_PAUSE,
    REACTIONS,
    REFUND_ANSWERED,
    REFUND_DIRECTLY,
    UNANSWERED,
    Retries,
)
from saga.errors import OutOfOrder, Refused
from saga.reactions.reaction import Reaction, Transition
from tests.support.builders import NOW, PRICE, event, payment, types

REDIRECT = Action(kind="redirect", name="web_url", value="https://pay.example/1")
LATER = Pending("pr-1", (REDIRECT,))

CHARGING = payment()
PENDING = payment(
    pending_charge="pr-1", actions=(REDIRECT,), next_attempt_at=NOW + FIRST_RETRY_AFTER, unanswered_attempts=1
)
TO_BE_UNDONE = payment(refund_when_charged=True, refund_record="e-refund")
PENDING_TO_BE_UNDONE = PENDING.model_copy(update={"refund_when_charged": True, "refund_record": "e-refund"})
CHARGED = payment(status="charged", charge_id="ch-1", next_attempt_at=None)
DECLINED = payment(status="declined", reason="declined", next_attempt_at=None)
VOID = payment(
    status="void",
    user_id=None,
    request_record=None,
    refund_record="e-PaymentRefundRequested",
    next_attempt_at=None,
)
REFUNDING = payment(
    status="refunding",
    charge_id="ch-1",
    refund_attempt=1,
    refund_record="e-refund",
    next_attempt_at=NOW + FIRST_RETRY_AFTER,
)
REFUNDED = REFUNDING.model_copy(
    update={"status": "refunded", "refund_id": "re-1", "refunded_amount": PRICE, "next_attempt_at": None}
)
REFUND_PENDING = REFUNDING.model_copy(update={"pending_refund": "rfd-1", "unanswered_attempts": 1})
REFUND_TRIED_AGAIN = REFUNDING.model_copy(update={"refund_attempt": 2, "reason": "refused"})
REFUND_FAILED = REFUND_TRIED_AGAIN.model_copy(
    update={"status": "refundFailed", "refund_failure_published": True}
)
REFUNDING_BY_ITSELF = REFUNDING.model_copy(update={"refund_record": None})
REFUNDED_BY_ITSELF = REFUNDED.model_copy(update={"refund_record": None})
REFUND_FAILED_BY_ITSELF = REFUND_FAILED.model_copy(update={"refund_record": None})
STATES = {
    "charging": CHARGING,
    "pending": PENDING,
    "to be undone": TO_BE_UNDONE,
    "pending to be undone": PENDING_TO_BE_UNDONE,
    "charged": CHARGED,
    "declined": DECLINED,
    "void": VOID,
    "refunding": REFUNDING,
    "refund pending": REFUND_PENDING,
    "refund tried again": REFUND_TRIED_AGAIN,
    "refunded": REFUNDED,
    "refundFailed": REFUND_FAILED,
    "refunding by itself": REFUNDING_BY_ITSELF,
    "refunded by itself": REFUNDED_BY_ITSELF,
    "refundFailed by itself": REFUND_FAILED_BY_ITSELF,
}

CHARGING_STATES = {"charging", "pending", "to be undone", "pending to be undone"}
RETRIES = Retries(attempts=3, first_pause=FIRST_RETRY_AFTER)

APPROVED = Approved("ch-1")
REFUSED = RefundRefused("refused")
PAID_BACK = Refunded("re-1")


def direct(before: Payment) -> Payment:
    """Return the same payment, made over HTTP for no saga."""
    of_no_saga = {"saga": False, "correlation_id": "o-1", "request_record": None}
    return before.model_copy(update={**of_no_saga, "refund_record": None, "refund_when_charged": False})


def react(before: Payment | None, kind: type[Event], **changes: Any) -> Reaction[Payment]:
    return REACTIONS[kind](before, event(kind, **changes), NOW)


def charge_answered(before: Payment | None, answer: ChargeAnswer) -> Reaction[Payment]:
    return CHARGE_ANSWERED(before, answer, NOW)


def refund_answered(before: Payment | None, answer: RefundAnswer) -> Reaction[Payment]:
    attempt = before.refund_attempt if before else 1
    return REFUND_ANSWERED(before, answer, attempt, RETRIES, NOW)


def after(reaction: Reaction[Payment]) -> Payment:
    assert reaction.state is not None
    return reaction.state


COMPLETED = PaymentCompleted(order_id="o-1", payment_id="o-1", amount=PRICE, currency="USD")
PAID_BACK_EVENT = PaymentRefunded(
    order_id="o-1", amount=PRICE, currency="USD", payment_id="o-1", refund_id="re-1"
)
NOTHING_PAID_BACK = PaymentRefunded(order_id="o-1", amount=0, currency="USD", payment_id="o-1")


class TestRequest:
    def test_a_request_starts_a_charge_and_publishes_nothing(self) -> None:
        until = NOW + timedelta(hours=2)
        reaction = react(None, PaymentRequested, payment_method="sim:approve", expires_at=until)
        assert reaction == Reaction(
            payment(
                payment_method="sim:approve",
                expires_at=until,
                request_record="e-PaymentRequested",
                next_attempt_at=NOW + FIRST_RETRY_AFTER,
            )
        )
        assert after(reaction).in_progress

    @pytest.mark.parametrize("name", sorted(set(STATES) - {"void"}))
    @pytest.mark.parametrize("amount", [PRICE, Decimal(99)], ids=["same", "other"])
    def test_any_later_request_gets_the_first_answer_again(self, name: str, amount: Decimal) -> None:
        reaction = react(STATES[name], PaymentRequested, amount=amount)
        assert reaction == Reaction(STATES[name], repeat_of="e-request")

    def test_the_provider_gets_the_key_of_the_order(self) -> None:
        state = after(react(None, PaymentRequested, idempotency_key="order-of-somebody-else"))
        assert state.charge_key == "order-o-1"

    def test_of_a_void_payment_it_fails_and_nothing_is_charged(self) -> None:
        reaction = react(VOID, PaymentRequested)
        assert after(reaction).status == "void"
        assert not after(reaction).in_progress
        assert list(reaction.emits) == [
            PaymentFailed(order_id="o-1", reason="refund_requested_first", payment_id="o-1")
        ]

    def test_of_a_void_payment_a_second_one_gets_the_same_answer(self) -> None:
        once = after(react(VOID, PaymentRequested))
        assert react(once, PaymentRequested, event_id="e-2") == Reaction(once, repeat_of="e-PaymentRequested")


class TestChargeAnswered:
    def test_approved_is_charged_and_answers_the_request(self) -> None:
        reaction = charge_answered(CHARGING, APPROVED)
        assert reaction == Reaction(CHARGED, [COMPLETED], append_to="e-request")

    def test_declined_answers_the_request(self) -> None:
        reaction = charge_answered(CHARGING, Declined("no_funds"))
        assert reaction == Reaction(
            DECLINED.model_copy(update={"reason": "no_funds"}),
            [PaymentFailed(order_id="o-1", reason="no_funds", payment_id="o-1")],
            append_to="e-request",
        )

    def test_a_pending_charge_keeps_the_action_and_publishes_nothing(self) -> None:
        reaction = charge_answered(CHARGING, LATER)
        assert reaction == Reaction(PENDING)
        assert after(reaction).in_progress

    def test_pauses_between_calls_about_a_pending_charge_grow(self) -> None:
        pauses, pending = [], CHARGING
        for _ in range(12):
            pending = after(charge_answered(pending, LATER))
            assert pending.next_attempt_at is not None
            pauses.append((pending.next_attempt_at - NOW) / FIRST_RETRY_AFTER)
        assert pauses[:4] == [1, 2, 4, 8]
        assert pauses[-1] * FIRST_RETRY_AFTER == LONGEST_RETRY_PAUSE

    def test_an_overdue_charge_is_cancelled_at_once(self) -> None:
        over = NOW + timedelta(seconds=12) + EXPIRY_MARGIN
        pending = CHARGING.model_copy(
            update={"expires_at": NOW + timedelta(seconds=12), "unanswered_attempts": 9}
        )
        pending = after(charge_answered(pending, LATER))
        assert pending.next_attempt_at == pending.cancel_at == over
        again = after(CHARGE_ANSWERED(pending, LATER, over))
        assert again.next_attempt_at == over + LONGEST_RETRY_PAUSE

    @pytest.mark.parametrize("answer", [APPROVED, Declined("expired")], ids=["approved", "declined"])
    def test_a_late_decision_equals_an_immediate_one(self, answer: ChargeAnswer) -> None:
        at_once, later = charge_answered(CHARGING, answer), charge_answered(PENDING, answer)
        assert after(later) == after(at_once).model_copy(update={"unanswered_attempts": 1})
        assert (later.emits, later.append_to) == (at_once.emits, at_once.append_to)

    @pytest.mark.parametrize("name", sorted(set(STATES) - CHARGING_STATES))
    def test_a_late_pending_answer_changes_nothing(self, name: str) -> None:
        assert charge_answered(STATES[name], LATER) == Reaction(STATES[name])

    @pytest.mark.parametrize("before", [TO_BE_UNDONE, PENDING_TO_BE_UNDONE], ids=["asked", "pending"])
    def test_an_approval_after_a_refund_request_is_refunded_silently(self, before: Payment) -> None:
        reaction = charge_answered(before, APPROVED)
        assert (after(reaction).status, after(reaction).charge_id) == ("refunding", "ch-1")
        assert after(reaction).refund_key == "refund-o-1-1"
        assert not reaction.emits

    def test_a_decline_after_a_refund_request_refunds_0(self) -> None:
        reaction = charge_answered(TO_BE_UNDONE, Declined("no_funds"))
        assert after(reaction).status == "declined"
        assert list(reaction.emits) == [NOTHING_PAID_BACK]
        assert reaction.append_to == "e-refund"

    def test_pauses_between_unanswered_calls_grow(self) -> None:
        pauses, charging = [], STATES["charging"]
        for _ in range(12):
            charging = after(UNANSWERED(charging, NOW))
            assert charging.next_attempt_at is not None
            pauses.append((charging.next_attempt_at - NOW) / FIRST_RETRY_AFTER)
        assert pauses[:4] == [1, 2, 4, 8]
        assert pauses[-1] * FIRST_RETRY_AFTER == LONGEST_RETRY_PAUSE

    @pytest.mark.parametrize("before", [DECLINED, VOID], ids=["declined", "void"])
    def test_approved_late_is_refunded_by_itself(self, before: Payment) -> None:
        reaction = charge_answered(before, APPROVED)
        assert (after(reaction).status, after(reaction).charge_id) == ("refunding", "ch-1")
        assert after(reaction).refund_attempt == 1
        assert after(reaction).next_attempt_at == NOW + FIRST_RETRY_AFTER
        assert not reaction.emits

    @pytest.mark.parametrize("name", sorted(set(STATES) - CHARGING_STATES - {"declined", "void"}))
    def test_approved_again_changes_nothing(self, name: str) -> None:
        assert charge_answered(STATES[name], APPROVED) == Reaction(STATES[name])

    @pytest.mark.parametrize("name", sorted(set(STATES) - CHARGING_STATES))
    def test_declined_late_changes_nothing(self, name: str) -> None:
        assert charge_answered(STATES[name], Declined("late")) == Reaction(STATES[name])

    def test_of_an_unknown_payment_it_waits(self) -> None:
        with pytest.raises(OutOfOrder):
            charge_answered(None, APPROVED)


class TestRefundRequest:
    def test_before_any_charge_it_makes_the_payment_void(self) -> None:
        reaction = react(None, PaymentRefundRequested)
        assert after(reaction) == VOID
        assert list(reaction.emits) == [PaymentRefunded(order_id="o-1", amount=0, currency="USD")]

    def test_a_refund_request_during_the_charge_is_kept(self) -> None:
        reaction = react(CHARGING, PaymentRefundRequested)
        assert reaction == Reaction(
            payment(
                refund_when_charged=True,
                refund_record="e-PaymentRefundRequested",
                next_attempt_at=NOW + FIRST_RETRY_AFTER,
            )
        )

    def test_a_refund_request_hastens_a_pending_charge(self) -> None:
        long_pending = PENDING.model_copy(
            update={"next_attempt_at": NOW + LONGEST_RETRY_PAUSE, "unanswered_attempts": 9}
        )
        state = after(react(long_pending, PaymentRefundRequested))
        assert (state.refund_when_charged, state.next_attempt_at, state.unanswered_attempts) == (
            True,
            NOW + FIRST_RETRY_AFTER,
            0,
        )
        assert state.pending == "pr-1"

    def test_of_a_charge_begins_the_refund(self) -> None:
        reaction = react(CHARGED, PaymentRefundRequested)
        assert reaction == Reaction(
            REFUNDING.model_copy(update={"refund_record": "e-PaymentRefundRequested"})
        )
        assert after(reaction).in_progress

    def test_a_refund_request_refunds_the_whole_charge(self) -> None:
        asked = after(react(CHARGED, PaymentRefundRequested, amount=Decimal(1), currency="EUR"))
        (answer,) = refund_answered(asked, PAID_BACK).emits
        assert answer == PAID_BACK_EVENT

    def test_of_a_declined_charge_it_is_answered_with_nothing(self) -> None:
        reaction = react(DECLINED, PaymentRefundRequested)
        assert after(reaction).status == "declined"
        assert list(reaction.emits) == [NOTHING_PAID_BACK]

    def test_a_refund_request_after_an_automatic_refund_is_answered(self) -> None:
        reaction = react(REFUNDED_BY_ITSELF, PaymentRefundRequested)
        assert after(reaction).status == "refunded"
        assert list(reaction.emits) == [PAID_BACK_EVENT]

    def test_a_refund_request_joins_an_automatic_refund(self) -> None:
        reaction = react(REFUNDING_BY_ITSELF, PaymentRefundRequested)
        assert reaction == Reaction(
            REFUNDING.model_copy(update={"refund_record": "e-PaymentRefundRequested"})
        )

    def test_a_refund_request_retries_a_failed_automatic_refund(self) -> None:
        reaction = react(REFUND_FAILED_BY_ITSELF, PaymentRefundRequested)
        assert (after(reaction).status, after(reaction).refund_attempt) == ("refunding", 2)
        assert not reaction.emits

    @pytest.mark.parametrize("name", ["to be undone", "void", "refunding", "refunded", "refundFailed"])
    def test_a_second_one_gets_the_first_answer_again(self, name: str) -> None:
        before = STATES[name]
        reaction = react(before, PaymentRefundRequested, event_id="e-2")
        assert reaction == Reaction(before, repeat_of=before.refund_record)


class TestRefundAnswered:
    def test_a_refund_answers_its_request(self) -> None:
        assert refund_answered(REFUNDING, PAID_BACK) == Reaction(
            REFUNDED, [PAID_BACK_EVENT], append_to="e-refund"
        )

    def test_a_pending_refund_is_asked_about_later(self) -> None:
        assert refund_answered(REFUNDING, Pending("rfd-1")) == Reaction(REFUND_PENDING)

    @pytest.mark.parametrize("answer", [PAID_BACK, REFUSED], ids=["paid back", "refused"])
    def test_a_late_decision_equals_an_immediate_one(self, answer: RefundAnswer) -> None:
        at_once, later = refund_answered(REFUNDING, answer), refund_answered(REFUND_PENDING, answer)
        assert after(later).model_copy(update={"unanswered_attempts": 0}) == after(at_once)
        assert later.emits == at_once.emits

    def test_refused_is_tried_again_later_with_another_key(self) -> None:
        reaction = refund_answered(REFUNDING, REFUSED)
        assert reaction == Reaction(REFUND_TRIED_AGAIN)
        assert after(reaction).refund_key == "refund-o-1-2"

    def test_without_an_answer_it_is_tried_again_with_the_same_key(self) -> None:
        silent = after(UNANSWERED(REFUND_TRIED_AGAIN, NOW))
        assert (silent.status, silent.refund_key) == ("refunding", "refund-o-1-2")

    def test_repeated_refusals_publish_one_failure_and_slow_down(
        self,
    ) -> None:
        state, told, pauses = REFUNDING, list[Event](), []
        for _ in range(14):
            reaction = refund_answered(state, REFUSED)
            state = after(reaction)
            told += reaction.emits
            assert state.next_attempt_at is not None
            assert (state.status == "refundFailed") == (state.refund_attempt > RETRIES.attempts) == bool(told)
            pauses.append((state.next_attempt_at - NOW) / FIRST_RETRY_AFTER)
        assert told == [
            PaymentRefundFailed(order_id="o-1", reason="refused", attempts=RETRIES.attempts, payment_id="o-1")
        ]
        assert pauses[:4] == [1, 2, 4, 8]
        assert pauses[-1] * FIRST_RETRY_AFTER == LONGEST_REFUND_PAUSE
        assert types(refund_answered(state, PAID_BACK)) == ["PaymentRefunded"]

    def test_an_automatic_refund_answers_the_charge_request(self) -> None:
        assert refund_answered(REFUNDING_BY_ITSELF, PAID_BACK).append_to == "e-request"

    @pytest.mark.parametrize("name", sorted(name for name in STATES if STATES[name].charge_id is None))
    @pytest.mark.parametrize("answer", [PAID_BACK, REFUSED, Pending("rfd-1")], ids=lambda one: str(one))
    def test_at_any_other_time_it_changes_nothing(self, name: str, answer: RefundAnswer) -> None:
        assert refund_answered(STATES[name], answer) == Reaction(STATES[name])

    @pytest.mark.parametrize("before", [CHARGED, REFUNDED], ids=["charged", "refunded"])
    @pytest.mark.parametrize("answer", [PAID_BACK, REFUSED, Pending("rfd-1")], ids=lambda one: str(one))
    def test_before_or_after_the_refund_it_changes_nothing(
        self, before: Payment, answer: RefundAnswer
    ) -> None:
        assert refund_answered(before, answer) == Reaction(before)

    @pytest.mark.parametrize("answer", [PAID_BACK, REFUSED], ids=["paid back", "refused"])
    def test_a_late_answer_to_an_earlier_attempt_is_ignored(self, answer: RefundAnswer) -> None:
        for again in (
            REFUND_TRIED_AGAIN,
            REFUND_FAILED,
            after(REFUND_DIRECTLY(REFUND_FAILED, NOW)),
        ):
            late = REFUND_ANSWERED(again, answer, 1, RETRIES, NOW)
            assert late == Reaction(again)

    def test_of_an_unknown_payment_it_waits(self) -> None:
        with pytest.raises(OutOfOrder):
            refund_answered(None, PAID_BACK)


class TestByHand:
    def test_a_direct_charge_is_started(self) -> None:
        asked = event(PaymentRequested, event_id="t-hand", correlation_id=None)
        reaction = CHARGE_DIRECTLY(None, asked, NOW)
        assert reaction == Reaction(
            direct(CHARGING).model_copy(update={"next_attempt_at": NOW + FIRST_RETRY_AFTER}),
        )

    @pytest.mark.parametrize("before", STATES.values(), ids=STATES)
    def test_a_payment_that_exists_is_left_as_it_is(self, before: Payment) -> None:
        reaction = CHARGE_DIRECTLY(before, event(PaymentRequested), NOW)
        assert reaction == Reaction(before)

    @pytest.mark.parametrize(
        ("answer", "status"), [(APPROVED, "charged"), (Declined("no_funds"), "declined")]
    )
    def test_a_direct_charge_publishes_nothing(self, answer: ChargeAnswer, status: str) -> None:
        reaction = charge_answered(direct(CHARGING), answer)
        assert after(reaction).status == status
        assert not reaction.emits

    def test_a_direct_refund_publishes_nothing(self) -> None:
        begun = REFUND_DIRECTLY(direct(CHARGED), NOW)
        assert (after(begun).status, after(begun).refund_attempt) == ("refunding", 1)
        for answer in (PAID_BACK, REFUSED):
            assert not refund_answered(after(begun), answer).emits

    @pytest.mark.parametrize("name", ["refunding", "refunded"])
    def test_a_second_refund_of_it_changes_nothing(self, name: str) -> None:
        before = direct(STATES[name])
        assert REFUND_DIRECTLY(before, NOW) == Reaction(before)

    @pytest.mark.parametrize("name", ["charging", "declined"])
    def test_an_uncharged_payment_cannot_be_refunded(self, name: str) -> None:
        with pytest.raises(Refused, match=name):
            REFUND_DIRECTLY(direct(STATES[name]), NOW)

    @pytest.mark.parametrize("name", sorted(name for name in STATES if not name.startswith("refundFailed")))
    def test_a_sagas_payment_cannot_be_refunded_directly(self, name: str) -> None:
        with pytest.raises(Refused, match="belongs to a saga"):
            REFUND_DIRECTLY(STATES[name], NOW)

    def test_a_repeated_direct_refund_changes_nothing(self) -> None:
        begun = after(REFUND_DIRECTLY(REFUND_FAILED, NOW))
        for before in (begun, after(refund_answered(begun, PAID_BACK))):
            assert REFUND_DIRECTLY(before, NOW) == Reaction(before)

    def test_an_unknown_payment_cannot_be_refunded(self) -> None:
        with pytest.raises(OutOfOrder):
            REFUND_DIRECTLY(None, NOW)

    @pytest.mark.parametrize("saga", [True, False])
    def test_a_refused_refund_is_retried_with_another_key(self, saga: bool) -> None:
        begun = after(REFUND_DIRECTLY(REFUND_FAILED.model_copy(update={"saga": saga}), NOW))
        assert (begun.status, begun.refund_key) == ("refunding", "refund-o-1-2")
        assert begun.next_attempt_at == NOW + FIRST_RETRY_AFTER

    def test_a_refund_settled_by_an_operator_answers_the_saga(self) -> None:
        begun = after(REFUND_DIRECTLY(REFUND_FAILED, NOW))
        settled = refund_answered(begun, PAID_BACK)
        assert after(settled).status == "refunded"
        assert (list(settled.emits), settled.append_to) == ([PAID_BACK_EVENT], "e-refund")


class TestSagaTakesOver:
    """A saga that asks for what was charged by hand."""

    def test_a_charge_in_progress_answers_the_saga(self) -> None:
        reaction = react(direct(CHARGING), PaymentRequested)
        assert reaction == Reaction(payment(request_record="e-PaymentRequested"))
        assert charge_answered(after(reaction), APPROVED).append_to == "e-PaymentRequested"

    def test_the_answer_names_the_amount_charged(self) -> None:
        reaction = react(direct(CHARGED), PaymentRequested, amount=Decimal(99))
        assert after(reaction) == CHARGED.model_copy(update={"request_record": "e-PaymentRequested"})
        assert list(reaction.emits) == [COMPLETED]

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("declined", "declined"),
            ("refunding", "refunding"),
            ("refunded", "refunded"),
            ("refundFailed", "refused"),
        ],
    )
    def test_a_request_for_a_payment_without_charge_fails(self, name: str, reason: str) -> None:
        reaction = react(direct(STATES[name]), PaymentRequested)
        assert after(reaction).status == name
        assert list(reaction.emits) == [PaymentFailed(order_id="o-1", reason=reason, payment_id="o-1")]

    @pytest.mark.parametrize("name", ["charging", "charged", "declined", "refunding", "refunded"])
    def test_its_refund_request_is_answered_in_the_end(self, name: str) -> None:
        state, published = settle(react(direct(STATES[name]), PaymentRefundRequested))
        assert published == ["PaymentRefunded"]
        assert (state.charge_id is None) == (state.refunded_amount == 0)
        assert (state.saga, state.correlation_id) == (True, "c-1")

    @pytest.mark.parametrize("name", ["charging", "charged"])
    def test_a_charge_request_after_a_refund_request_is_answered(self, name: str) -> None:
        """Nobody has answered a request for what was charged by hand."""
        asked, _ = settle(react(direct(STATES[name]), PaymentRefundRequested))
        reaction = react(asked, PaymentRequested)
        assert types(reaction) == ["PaymentFailed"]


def settle(
    reaction: Reaction[Payment],
    charge: ChargeAnswer = APPROVED,
    refund: RefundAnswer = PAID_BACK,
) -> tuple[Payment, list[str]]:
    """Let the provider answer all it owes; return the payment, and the types of all that was published."""
    published = types(reaction)
    while after(reaction).due_at:
        if after(reaction).status == "charging":
            reaction = charge_answered(after(reaction), charge)
        else:
            reaction = refund_answered(after(reaction), refund)
        published += types(reaction)
    return after(reaction), published


CHANGES = {
    "charging": {PaymentRefundRequested},
    "pending": {PaymentRefundRequested},
    "charged": {PaymentRefundRequested},
    "refundFailed by itself": {PaymentRefundRequested},
}
"""Which events change the status of which payment, or what is to become of it."""


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("kind", REACTIONS, ids=lambda kind: kind.__name__)
def test_only_the_listed_events_change_a_payment(name: str, kind: type[Event]) -> None:
    before = STATES[name]
    state = after(react(before, kind))
    changed = (state.status, state.refund_when_charged, state.refund_attempt, state.next_attempt_at) != (
        before.status,
        before.refund_when_charged,
        before.refund_attempt,
        before.next_attempt_at,
    )
    assert changed == (kind in CHANGES.get(name, set()))
    assert (state.amount, state.currency, state.charge_id, state.refund_id) == (
        before.amount,
        before.currency,
        before.charge_id,
        before.refund_id,
    )


@pytest.mark.parametrize("kind", REACTIONS, ids=lambda kind: kind.__name__)
def test_every_event_of_a_rule_is_published_in_some_state(kind: type[Event]) -> None:
    states = [None, *STATES.values(), *map(direct, STATES.values())]
    told = {type(one) for before in states for one in react(before, kind).emits}
    assert told == set(REACTIONS[kind].publishes)


@pytest.mark.parametrize(
    ("rule", "answers"),
    [
        (CHARGE_ANSWERED, [(APPROVED,), (Declined("no_funds"),)]),
        (REFUND_ANSWERED, [(PAID_BACK, 1, Retries(1)), (REFUSED, 1, Retries(1))]),
    ],
)
def test_every_event_of_an_answer_is_published_in_some_state(
    rule: Transition[Payment, datetime, *tuple[Any, ...]], answers: list[tuple[object, ...]]
) -> None:
    told = {
        type(one)
        for before in STATES.values()
        for answer in answers
        for one in rule(before, *answer, NOW).emits
    }
    assert told == set(rule.publishes)


def test_the_states_cover_every_status() -> None:
    assert {state.status for state in STATES.values()} == {
        *("charging", "charged", "declined", "void"),
        *("refunding", "refunded", "refundFailed"),
    }


def test_only_intents_are_due() -> None:
    results = [
        react(None, PaymentRequested),
        react(CHARGED, PaymentRefundRequested),
        charge_answered(CHARGING, APPROVED),
        charge_answered(CHARGING, Declined("x")),
        charge_answered(TO_BE_UNDONE, APPROVED),
        charge_answered(TO_BE_UNDONE, Declined("x")),
        charge_answered(DECLINED, APPROVED),
        refund_answered(REFUNDING, PAID_BACK),
        refund_answered(REFUNDING, REFUSED),
        charge_answered(CHARGING, LATER),
        charge_answered(PENDING, APPROVED),
        charge_answered(PENDING, Declined("x")),
        refund_answered(REFUND_PENDING, PAID_BACK),
        refund_answered(REFUND_FAILED, REFUSED),
        REFUND_DIRECTLY(REFUND_FAILED, NOW),
    ]
    for reaction in results:
        waits = after(reaction).in_progress or after(reaction).status == "refundFailed"
        assert (after(reaction).due_at is not None) == waits


class TestAnyOrder:
    @pytest.mark.parametrize("answer", [APPROVED, Declined("no_funds")], ids=["approved", "declined"])
    def test_request_refund_and_answer_in_any_order_keep_no_money(self, answer: ChargeAnswer) -> None:
        refund_first, told_first = settle(react(after(react(None, PaymentRefundRequested)), PaymentRequested))
        charging = after(react(None, PaymentRequested))
        refund_between, told_between = settle(react(charging, PaymentRefundRequested), answer)
        charged = after(charge_answered(charging, answer))
        refund_last, told_last = settle(react(charged, PaymentRefundRequested))
        for state in (refund_first, refund_between, refund_last):
            unanswered_requests = PRICE if state.charge_id else 0
            assert state.refunded_amount == unanswered_requests
        assert told_first == ["PaymentFailed"]
        assert told_between == told_last == ["PaymentRefunded"]


Deed = Callable[[Payment | None], Reaction[Payment]]

DEEDS: dict[str, Deed] = {
    "request": lambda before: react(before, PaymentRequested),
    "another request": lambda before: react(before, PaymentRequested, event_id="e-2", amount=Decimal(99)),
    "refund": lambda before: react(before, PaymentRefundRequested),
    "another refund": lambda before: react(before, PaymentRefundRequested, event_id="e-3"),
    "approved": lambda before: charge_answered(before, APPROVED),
    "put off": lambda before: charge_answered(before, LATER),
    "declined": lambda before: charge_answered(before, Declined("no_funds")),
    "paid back": lambda before: refund_answered(before, PAID_BACK),
    "refused": lambda before: refund_answered(before, REFUSED),
    "refund put off": lambda before: refund_answered(before, Pending("rfd-1")),
    "by hand": lambda before: REFUND_DIRECTLY(before, NOW + timedelta(days=1)),
}
PROVIDER_MAY = {
    "approved": ("charging", "declined"),
    "declined": ("charging",),
    "paid back": ("refunding", "refundFailed"),
    "refused": ("refunding", "refundFailed"),
}
"""When the provider may give which answer; an approval may also come after a refusal."""


@given(st.lists(st.sampled_from(sorted(DEEDS)), max_size=12))
def test_any_sequence_refunds_what_is_not_kept(names: list[str]) -> None:
    state: Payment | None = None
    asked_back, amounts = False, set[Decimal]()
    for name in names:
        if name in PROVIDER_MAY and (state is None or state.status not in PROVIDER_MAY[name]):
            continue
        try:
            state = DEEDS[name](state).state
        except (OutOfOrder, Refused):
            continue
        asked_back = asked_back or name.endswith("refund")
        amounts.add(after(Reaction(state)).amount)
    if state is None:
        return
    assert len(amounts) == 1
    settled, _ = settle(Reaction(state))
    if asked_back:
        assert settled.status in ("declined", "void", "refunded")
    kept = settled.amount - settled.refunded_amount if settled.charge_id else 0
    assert kept == (settled.amount if settled.status == "charged" else 0)

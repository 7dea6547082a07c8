"""Reactions to refund requests and to the provider's answers about refunds."""

from decimal import Decimal

import pytest

from events.catalogue import Event, PaymentRefunded, PaymentRefundFailed, PaymentRefundRequested
from payment_service.payment import Payment
from payment_service.providers.base import Pending, RefundAnswer
from payment_service.reactions import (
    CLAIM,
    FIRST_RETRY_AFTER,
    LONGEST_REFUND_PAUSE,
    LONGEST_RETRY_PAUSE,
    REFUND_ANSWERED,
    REFUND_DIRECTLY,
)
from saga.errors import OutOfOrder
from saga.reactions.reaction import Reaction
from tests.support.builders import NOW, payment
from tests.support.reactions import after, types
from tests.unit.payment_service.states import (
    CHARGED,
    CHARGING,
    DECLINED,
    PENDING,
    REFUND_FAILED,
    REFUND_FAILED_AUTOMATICALLY,
    REFUND_MADE,
    REFUND_PENDING,
    REFUND_RETRIED,
    REFUNDED,
    REFUNDED_AUTOMATICALLY,
    REFUNDED_EVENT,
    REFUNDED_NOTHING,
    REFUNDING,
    REFUNDING_AUTOMATICALLY,
    REFUSED,
    RETRIES,
    STATES,
    VOID,
    react,
    refund_answered,
)


class TestRefundRequest:
    def test_a_refund_request_before_any_charge_voids_the_payment(self) -> None:
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

    def test_a_refund_request_starts_the_refund(self) -> None:
        reaction = react(CHARGED, PaymentRefundRequested)
        assert reaction == Reaction(
            REFUNDING.model_copy(update={"refund_record": "e-PaymentRefundRequested"})
        )
        assert after(reaction).in_progress

    def test_a_refund_request_refunds_the_whole_charge(self) -> None:
        asked = after(react(CHARGED, PaymentRefundRequested, amount=Decimal(1), currency="EUR"))
        (answer,) = refund_answered(asked, REFUND_MADE).emits
        assert answer == REFUNDED_EVENT

    def test_a_refund_request_for_a_declined_charge_refunds_0(self) -> None:
        reaction = react(DECLINED, PaymentRefundRequested)
        assert after(reaction).status == "declined"
        assert list(reaction.emits) == [REFUNDED_NOTHING]

    def test_a_refund_request_after_an_automatic_refund_is_answered(self) -> None:
        reaction = react(REFUNDED_AUTOMATICALLY, PaymentRefundRequested)
        assert after(reaction).status == "refunded"
        assert list(reaction.emits) == [REFUNDED_EVENT]

    def test_a_refund_request_joins_an_automatic_refund(self) -> None:
        reaction = react(REFUNDING_AUTOMATICALLY, PaymentRefundRequested)
        assert reaction == Reaction(
            REFUNDING.model_copy(update={"refund_record": "e-PaymentRefundRequested"})
        )

    def test_a_refund_request_retries_a_failed_automatic_refund(self) -> None:
        reaction = react(REFUND_FAILED_AUTOMATICALLY, PaymentRefundRequested)
        assert (after(reaction).status, after(reaction).refund_attempt) == ("refunding", 2)
        assert not reaction.emits

    @pytest.mark.parametrize("name", ["to be refunded", "void", "refunding", "refunded", "refundFailed"])
    def test_a_repeated_request_gets_the_first_answer_again(self, name: str) -> None:
        before = STATES[name]
        reaction = react(before, PaymentRefundRequested, event_id="e-2")
        assert reaction == Reaction(before, repeat_of=before.refund_record)


class TestRefundAnswered:
    def test_a_refund_answers_its_request(self) -> None:
        assert refund_answered(REFUNDING, REFUND_MADE) == Reaction(
            REFUNDED, [REFUNDED_EVENT], append_to="e-refund"
        )

    def test_a_pending_refund_is_asked_about_later(self) -> None:
        due = REFUNDING.model_copy(update={"next_attempt_at": NOW})
        assert refund_answered(due, Pending("rfd-1")) == Reaction(REFUND_PENDING)
        claimed = after(CLAIM(due, NOW))
        assert refund_answered(claimed, Pending("rfd-1")) == Reaction(REFUND_PENDING)

    @pytest.mark.parametrize("answer", [REFUND_MADE, REFUSED], ids=["refunded", "refused"])
    def test_a_late_decision_equals_an_immediate_one(self, answer: RefundAnswer) -> None:
        at_once, later = refund_answered(REFUNDING, answer), refund_answered(REFUND_PENDING, answer)
        assert after(later).model_copy(update={"unanswered_attempts": 0}) == after(at_once)
        assert later.emits == at_once.emits

    def test_refused_is_tried_again_later_with_another_key(self) -> None:
        reaction = refund_answered(REFUNDING, REFUSED)
        assert reaction == Reaction(REFUND_RETRIED)
        assert after(reaction).refund_key == "refund-o-1-2"

    def test_an_unanswered_refund_is_retried_with_the_same_key(self) -> None:
        silent = after(CLAIM(REFUND_RETRIED.model_copy(update={"next_attempt_at": NOW}), NOW))
        assert (silent.status, silent.refund_key) == ("refunding", "refund-o-1-2")

    def test_repeated_refusals_publish_one_failure_and_slow_down(self) -> None:
        state, published, pauses = REFUNDING, list[Event](), []
        for _ in range(14):
            reaction = refund_answered(state, REFUSED)
            state = after(reaction)
            published += reaction.emits
            assert state.next_attempt_at is not None
            assert (
                (state.status == "refundFailed")
                == (state.refund_attempt > RETRIES.attempts)
                == bool(published)
            )
            pauses.append((state.next_attempt_at - NOW) / FIRST_RETRY_AFTER)
        assert published == [
            PaymentRefundFailed(order_id="o-1", reason="refused", attempts=RETRIES.attempts, payment_id="o-1")
        ]
        assert pauses[:4] == [1, 2, 4, 8]
        assert pauses[-1] * FIRST_RETRY_AFTER == LONGEST_REFUND_PAUSE
        assert types(refund_answered(state, REFUND_MADE)) == ["PaymentRefunded"]

    def test_an_automatic_refund_answers_the_charge_request(self) -> None:
        assert refund_answered(REFUNDING_AUTOMATICALLY, REFUND_MADE).append_to == "e-request"

    @pytest.mark.parametrize("name", sorted(name for name in STATES if STATES[name].charge_id is None))
    @pytest.mark.parametrize("answer", [REFUND_MADE, REFUSED, Pending("rfd-1")], ids=lambda one: str(one))
    def test_an_answer_without_a_charge_changes_nothing(self, name: str, answer: RefundAnswer) -> None:
        assert refund_answered(STATES[name], answer) == Reaction(STATES[name])

    @pytest.mark.parametrize("before", [CHARGED, REFUNDED], ids=["charged", "refunded"])
    @pytest.mark.parametrize("answer", [REFUND_MADE, REFUSED, Pending("rfd-1")], ids=lambda one: str(one))
    def test_an_answer_before_or_after_the_refund_changes_nothing(
        self, before: Payment, answer: RefundAnswer
    ) -> None:
        assert refund_answered(before, answer) == Reaction(before)

    @pytest.mark.parametrize("answer", [REFUND_MADE, REFUSED], ids=["refunded", "refused"])
    def test_a_late_answer_to_an_earlier_attempt_is_ignored(self, answer: RefundAnswer) -> None:
        for again in (
            REFUND_RETRIED,
            REFUND_FAILED,
            after(REFUND_DIRECTLY(REFUND_FAILED, NOW)),
        ):
            late = REFUND_ANSWERED(again, answer, 1, RETRIES, NOW)
            assert late == Reaction(again)

    def test_an_answer_about_an_unknown_payment_is_out_of_order(self) -> None:
        with pytest.raises(OutOfOrder):
            refund_answered(None, REFUND_MADE)

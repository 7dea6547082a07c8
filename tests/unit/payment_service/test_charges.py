"""Reactions to payment requests and to the provider's answers about charges."""

from datetime import timedelta
from decimal import Decimal

import pytest

from events.catalogue import PaymentFailed, PaymentRequested
from payment_service.payment import EXPIRY_MARGIN, Payment
from payment_service.providers.base import ChargeAnswer, Declined
from payment_service.reactions import (
    CHARGE_ANSWERED,
    CLAIM,
    FIRST_RETRY_AFTER,
    LONGEST_RETRY_PAUSE,
    UNANSWERED,
)
from saga.errors import OutOfOrder
from saga.reactions.reaction import Reaction
from tests.support.builders import NOW, PRICE, payment
from tests.support.reactions import after
from tests.unit.payment_service.states import (
    APPROVED,
    CHARGED,
    CHARGING,
    CHARGING_STATES,
    COMPLETED,
    DECLINED,
    LATER,
    PENDING,
    PENDING_TO_BE_REFUNDED,
    REFUNDED_NOTHING,
    STATES,
    TO_BE_REFUNDED,
    VOID,
    charge_answered,
    react,
)


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
        state = after(react(None, PaymentRequested, idempotency_key="order-of-another-client"))
        assert state.charge_key == "order-o-1"

    def test_a_request_for_a_void_payment_fails_without_a_charge(self) -> None:
        reaction = react(VOID, PaymentRequested)
        assert after(reaction).status == "void"
        assert not after(reaction).in_progress
        assert list(reaction.emits) == [
            PaymentFailed(order_id="o-1", reason="refund_requested_first", payment_id="o-1")
        ]

    def test_a_void_payment_answers_a_second_request_alike(self) -> None:
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
        pauses, pending, now = [], CHARGING.model_copy(update={"next_attempt_at": NOW}), NOW
        for _ in range(12):
            pending = after(CHARGE_ANSWERED(after(CLAIM(pending, now)), LATER, now))
            assert pending.next_attempt_at is not None
            pauses.append((pending.next_attempt_at - now) / FIRST_RETRY_AFTER)
            now = pending.next_attempt_at
        assert pauses[:4] == [1, 2, 4, 8]
        assert pauses[-1] * FIRST_RETRY_AFTER == LONGEST_RETRY_PAUSE

    def test_a_deferred_answer_after_the_time_is_asked_about_later(self) -> None:
        overdue = CHARGING.model_copy(update={"next_attempt_at": NOW})
        pending = after(CHARGE_ANSWERED(overdue, LATER, NOW))
        assert pending.next_attempt_at == NOW + FIRST_RETRY_AFTER

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

    @pytest.mark.parametrize("before", [TO_BE_REFUNDED, PENDING_TO_BE_REFUNDED], ids=["asked", "pending"])
    def test_an_approval_after_a_refund_request_is_refunded_silently(self, before: Payment) -> None:
        reaction = charge_answered(before, APPROVED)
        assert (after(reaction).status, after(reaction).charge_id) == ("refunding", "ch-1")
        assert after(reaction).refund_key == "refund-o-1-1"
        assert not reaction.emits

    def test_a_decline_after_a_refund_request_refunds_0(self) -> None:
        reaction = charge_answered(TO_BE_REFUNDED, Declined("no_funds"))
        assert after(reaction).status == "declined"
        assert list(reaction.emits) == [REFUNDED_NOTHING]
        assert reaction.append_to == "e-refund"

    def test_pauses_between_unanswered_calls_grow(self) -> None:
        pauses, charging, now = [], STATES["charging"].model_copy(update={"next_attempt_at": NOW}), NOW
        for _ in range(12):
            charging = after(CLAIM(charging, now))
            assert charging.next_attempt_at is not None
            pauses.append((charging.next_attempt_at - now) / FIRST_RETRY_AFTER)
            now = charging.next_attempt_at
        assert pauses[:4] == [1, 2, 4, 8]
        assert pauses[-1] * FIRST_RETRY_AFTER == LONGEST_RETRY_PAUSE

    def test_only_one_of_two_replicas_claims_a_call(self) -> None:
        due = STATES["charging"].model_copy(update={"next_attempt_at": NOW})
        claimed = after(CLAIM(due, NOW))
        assert CLAIM(claimed, NOW) == Reaction(claimed)
        assert CLAIM(None, NOW) == Reaction(None)

    def test_an_answer_after_its_message_goes_through_the_relay(self) -> None:
        answered = charge_answered(STATES["charging"], APPROVED)
        assert (len(answered.emits), answered.relay) == (1, False)
        unanswered = after(UNANSWERED(STATES["charging"], NOW))
        assert charge_answered(unanswered, APPROVED).relay
        assert UNANSWERED(STATES["charged"], NOW) == Reaction(STATES["charged"])

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

    def test_an_answer_about_an_unknown_payment_is_out_of_order(self) -> None:
        with pytest.raises(OutOfOrder):
            charge_answered(None, APPROVED)

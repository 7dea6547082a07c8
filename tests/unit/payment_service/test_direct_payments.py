"""Payments over HTTP outside any saga, and sagas that take one over."""

from decimal import Decimal

import pytest

from events.catalogue import PaymentFailed, PaymentRefundRequested, PaymentRequested
from payment_service.payment import Payment
from payment_service.providers.base import ChargeAnswer, Declined
from payment_service.reactions import CHARGE_DIRECTLY, FIRST_RETRY_AFTER, REFUND_DIRECTLY
from saga.errors import OutOfOrder, Refused
from saga.reactions.reaction import Reaction
from tests.support.builders import NOW, event, payment
from tests.support.reactions import after, types
from tests.unit.payment_service.states import (
    APPROVED,
    CHARGED,
    CHARGING,
    COMPLETED,
    REFUND_FAILED,
    REFUND_MADE,
    REFUNDED_EVENT,
    REFUSED,
    STATES,
    charge_answered,
    direct,
    react,
    refund_answered,
    settle,
)


class TestDirectPayments:
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
        for answer in (REFUND_MADE, REFUSED):
            assert not refund_answered(after(begun), answer).emits

    @pytest.mark.parametrize("name", ["refunding", "refunded"])
    def test_a_second_direct_refund_changes_nothing(self, name: str) -> None:
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
        for before in (begun, after(refund_answered(begun, REFUND_MADE))):
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
        settled = refund_answered(begun, REFUND_MADE)
        assert after(settled).status == "refunded"
        assert (list(settled.emits), settled.append_to) == ([REFUNDED_EVENT], "e-refund")


class TestSagaTakesOver:
    """A saga that requests what is charged directly."""

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
    def test_a_sagas_refund_request_is_answered_in_the_end(self, name: str) -> None:
        state, published = settle(react(direct(STATES[name]), PaymentRefundRequested))
        assert published == ["PaymentRefunded"]
        assert (state.charge_id is None) == (state.refunded_amount == 0)
        assert (state.saga, state.correlation_id) == (True, "c-1")

    @pytest.mark.parametrize("name", ["charging", "charged"])
    def test_a_charge_request_after_a_refund_request_is_answered(self, name: str) -> None:
        """A direct charge has answered no request before."""
        asked, _ = settle(react(direct(STATES[name]), PaymentRefundRequested))
        reaction = react(asked, PaymentRequested)
        assert types(reaction) == ["PaymentFailed"]

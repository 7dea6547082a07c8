"""Events and answers of a payment in any sequence charge and refund once."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.catalogue import PaymentRefundRequested, PaymentRequested
from payment_service.payment import Payment
from payment_service.providers.base import ChargeAnswer, Declined, Pending
from payment_service.reactions import REFUND_DIRECTLY
from saga.errors import OutOfOrder, Refused
from saga.reactions.reaction import Reaction
from tests.support.builders import NOW, PRICE
from tests.support.reactions import after
from tests.unit.payment_service.states import (
    APPROVED,
    LATER,
    REFUND_MADE,
    REFUSED,
    charge_answered,
    react,
    refund_answered,
    settle,
)


class TestAnyOrder:
    @pytest.mark.parametrize("answer", [APPROVED, Declined("no_funds")], ids=["approved", "declined"])
    def test_request_refund_and_answer_in_any_order_keep_no_money(self, answer: ChargeAnswer) -> None:
        refund_first, published_first = settle(
            react(after(react(None, PaymentRefundRequested)), PaymentRequested)
        )
        charging = after(react(None, PaymentRequested))
        refund_between, published_between = settle(react(charging, PaymentRefundRequested), answer)
        charged = after(charge_answered(charging, answer))
        refund_last, published_last = settle(react(charged, PaymentRefundRequested))
        for state in (refund_first, refund_between, refund_last):
            unanswered_requests = PRICE if state.charge_id else 0
            assert state.refunded_amount == unanswered_requests
        assert published_first == ["PaymentFailed"]
        assert published_between == published_last == ["PaymentRefunded"]


Change = Callable[[Payment | None], Reaction[Payment]]

ALL_CHANGES: dict[str, Change] = {
    "request": lambda before: react(before, PaymentRequested),
    "another request": lambda before: react(before, PaymentRequested, event_id="e-2", amount=Decimal(99)),
    "refund": lambda before: react(before, PaymentRefundRequested),
    "another refund": lambda before: react(before, PaymentRefundRequested, event_id="e-3"),
    "approved": lambda before: charge_answered(before, APPROVED),
    "pending": lambda before: charge_answered(before, LATER),
    "declined": lambda before: charge_answered(before, Declined("no_funds")),
    "refunded": lambda before: refund_answered(before, REFUND_MADE),
    "refused": lambda before: refund_answered(before, REFUSED),
    "refund pending": lambda before: refund_answered(before, Pending("rfd-1")),
    "direct refund": lambda before: REFUND_DIRECTLY(before, NOW + timedelta(days=1)),
}
PROVIDER_MAY = {
    "approved": ("charging", "declined"),
    "declined": ("charging",),
    "refunded": ("refunding", "refundFailed"),
    "refused": ("refunding", "refundFailed"),
}
"""When the provider may give which answer; an approval may also come after a refusal."""


@given(st.lists(st.sampled_from(sorted(ALL_CHANGES)), max_size=12))
def test_any_sequence_refunds_what_is_not_kept(names: list[str]) -> None:
    state: Payment | None = None
    refund_requested, amounts = False, set[Decimal]()
    for name in names:
        if name in PROVIDER_MAY and (state is None or state.status not in PROVIDER_MAY[name]):
            continue
        try:
            state = ALL_CHANGES[name](state).state
        except (OutOfOrder, Refused):
            continue
        refund_requested = refund_requested or name.endswith("refund")
        amounts.add(after(Reaction(state)).amount)
    if state is None:
        return
    assert len(amounts) == 1
    settled, _ = settle(Reaction(state))
    if refund_requested:
        assert settled.status in ("declined", "void", "refunded")
    kept = settled.amount - settled.refunded_amount if settled.charge_id else 0
    assert kept == (settled.amount if settled.status == "charged" else 0)

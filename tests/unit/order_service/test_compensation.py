"""Reactions of the order service that compensate, and what starts a compensation."""

from datetime import timedelta

import pytest

from events.catalogue import (
    Event,
    InventoryReleased,
    OrderFailed,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
)
from order_service.order import Order
from order_service.reactions import CANCEL, MISS_DEADLINE
from saga.errors import OutOfOrder, Refused
from saga.reactions.reaction import Reaction
from tests.support.builders import LATER
from tests.support.reactions import after, emitted, types
from tests.unit.order_service.states import (
    AWAITS_ALL,
    AWAITS_PAYMENT,
    AWAITS_REFUND,
    AWAITS_RELEASE,
    CANCELLED,
    CONFIRMED,
    FAILED,
    PENDING,
    REFUND_PENDING,
    RESERVED,
    STATES,
    execute,
    react,
)


class TestCompensating:
    def test_a_payment_that_comes_after_an_expiry_is_refunded(self) -> None:
        reaction = react(AWAITS_PAYMENT, PaymentCompleted)
        assert after(reaction) == AWAITS_REFUND
        assert types(reaction) == ["PaymentRefundRequested"]

    def test_an_unrequested_payment_is_refunded(self) -> None:
        reaction = react(AWAITS_RELEASE, PaymentCompleted)
        assert (after(reaction).release, after(reaction).refund) == ("awaited", "awaited")
        assert types(reaction) == ["PaymentRefundRequested"]

    def test_a_payment_is_not_refunded_twice(self) -> None:
        reaction = react(AWAITS_ALL, PaymentCompleted)
        assert after(reaction) == AWAITS_ALL.model_copy(update={"payment": "completed", "payment_id": "p-1"})
        assert not reaction.emits

    @pytest.mark.parametrize(
        ("kind", "settled"),
        [
            (PaymentFailed, {"payment": "failed"}),
            (InventoryReleased, {"release": "settled"}),
            (PaymentRefunded, {"refund": "settled", "payment": "failed"}),
        ],
    )
    def test_each_answer_settles_its_own_and_the_rest_is_awaited(
        self, kind: type[Event], settled: dict[str, str]
    ) -> None:
        reaction = react(AWAITS_ALL, kind)
        assert reaction == Reaction(AWAITS_ALL.model_copy(update=settled))

    def test_a_refund_keeps_the_payment_completed(self) -> None:
        assert after(react(AWAITS_REFUND, PaymentRefunded)).payment == "completed"

    @pytest.mark.parametrize(
        ("before", "kind"),
        [
            (AWAITS_RELEASE, InventoryReleased),
            (AWAITS_PAYMENT, PaymentFailed),
            (AWAITS_REFUND, PaymentRefunded),
            (REFUND_PENDING, PaymentRefunded),
        ],
        ids=["release", "payment", "refund", "settled refund"],
    )
    @pytest.mark.parametrize("ends_as", ["failed", "cancelled"])
    def test_the_last_answer_ends_the_order(self, before: Order, kind: type[Event], ends_as: str) -> None:
        reaction = react(before.model_copy(update={"ends_as": ends_as}), kind)
        assert after(reaction).status == ends_as
        assert after(reaction).awaiting == []
        failed = emitted(reaction, OrderFailed)
        assert (failed.status, failed.reason, failed.user_id) == (ends_as, "why", "u-1")
        assert types(reaction) == ["OrderFailed"]

    def test_a_refused_refund_leaves_the_order_refund_pending(self) -> None:
        assert react(AWAITS_REFUND, PaymentRefundFailed) == Reaction(REFUND_PENDING)

    def test_a_release_does_not_end_a_pending_refund(self) -> None:
        before = REFUND_PENDING.model_copy(update={"release": "awaited"})
        reaction = react(before, InventoryReleased)
        assert reaction == Reaction(before.model_copy(update={"release": "settled"}))

    def test_a_settled_refund_still_awaits_the_release(self) -> None:
        before = REFUND_PENDING.model_copy(update={"release": "awaited"})
        reaction = react(before, PaymentRefunded)
        assert (after(reaction).status, after(reaction).awaiting) == ("compensating", ["release"])
        assert not reaction.emits


class TestCancel:
    def test_an_unknown_order_cannot_be_cancelled(self) -> None:
        with pytest.raises(OutOfOrder):
            execute(CANCEL, None)

    @pytest.mark.parametrize(
        "before", [CONFIRMED, FAILED, AWAITS_RELEASE, AWAITS_PAYMENT, AWAITS_REFUND, REFUND_PENDING]
    )
    def test_an_ended_or_failing_order_cannot_be_cancelled(self, before: Order) -> None:
        with pytest.raises(Refused, match=before.status):
            execute(CANCEL, before)

    @pytest.mark.parametrize("before", [PENDING, RESERVED])
    def test_a_second_cancel_changes_nothing(self, before: Order) -> None:
        once = after(execute(CANCEL, before))
        assert execute(CANCEL, once) == Reaction(once)

    def test_a_cancelled_order_stays_cancelled(self) -> None:
        assert execute(CANCEL, CANCELLED) == Reaction(CANCELLED)


class TestDeadline:
    @pytest.mark.parametrize("before", [PENDING, RESERVED])
    def test_nothing_happens_before_the_deadline(self, before: Order) -> None:
        early = before.deadline - timedelta(microseconds=1)
        assert execute(MISS_DEADLINE, before, early) == Reaction(before)

    @pytest.mark.parametrize("name", sorted(set(STATES) - {"pending", "reserved"}))
    def test_only_an_undecided_order_misses_its_deadline(self, name: str) -> None:
        late = LATER + timedelta(days=1)
        assert execute(MISS_DEADLINE, STATES[name], late) == Reaction(STATES[name])

    def test_an_unknown_order_misses_nothing(self) -> None:
        assert execute(MISS_DEADLINE, None) == Reaction(None)

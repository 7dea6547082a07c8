"""Reactions of the order service until an order is confirmed or has to be compensated."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from events.catalogue import (
    Event,
    InventoryConfirmationFailed,
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReleaseRequested,
    InventoryReservationExpired,
    InventoryReservationFailed,
    InventoryReservationRequested,
    InventoryReserved,
    OrderCreated,
    OrderFailed,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefundRequested,
    PaymentRequested,
)
from events.values import DEFAULT_HOLD, Item
from order_service.order import GRACE, Order
from order_service.reactions import CANCEL, MISS_DEADLINE, REACTIONS
from saga.errors import OutOfOrder, Refused
from saga.reactions.reaction import Reaction, Transition
from tests.support.builders import ITEMS, LATER, NOW, PRICE, event, order
from tests.support.reactions import after, emitted, types
from tests.unit.order_service.states import (
    AWAITS_REFUND,
    CONFIRMED,
    PAID,
    PENDING,
    RESERVED,
    compensating,
    execute,
    react,
)

ADOPTING = (InventoryReservationRequested, InventoryReserved, InventoryReservationFailed)
"""The events that an unknown order is created from."""


class TestAdoption:
    def test_another_clients_request_is_adopted_as_a_pending_order(self) -> None:
        request = event(InventoryReservationRequested, expires_in=60, payment_method="sim:approve")
        reaction = REACTIONS[InventoryReservationRequested](None, request, NOW)
        assert after(reaction) == order(
            request=request,
            expires_in=60,
            payment_method="sim:approve",
            deadline=NOW + timedelta(seconds=60) + GRACE,
        )
        assert not reaction.emits

    def test_the_default_deadline_is_hold_and_five_minutes(self) -> None:
        adopted = after(react(None, InventoryReservationRequested))
        assert adopted.deadline == NOW + DEFAULT_HOLD + timedelta(minutes=5)

    def test_inventorys_answer_before_the_request_creates_the_order(self) -> None:
        reaction = react(None, InventoryReserved, payment_method="sim:approve")
        state = after(reaction)
        assert (state.status, state.user_id, state.items, state.total_amount, state.currency) == (
            "reserved",
            "u-1",
            ITEMS,
            PRICE,
            "USD",
        )
        assert state.correlation_id == "c-1"
        assert emitted(reaction, PaymentRequested).payment_method == "sim:approve"
        assert types(reaction) == ["PaymentRequested"]

    def test_a_rejection_before_the_request_creates_a_failed_order(self) -> None:
        reaction = react(None, InventoryReservationFailed, reason="unknown_product")
        state = after(reaction)
        assert (state.status, state.reason, state.correlation_id) == ("failed", "unknown_product", "c-1")
        assert types(reaction) == ["OrderFailed"]

    @pytest.mark.parametrize("kind", [kind for kind in REACTIONS if kind not in ADOPTING])
    def test_any_other_fact_about_an_unknown_order_waits(self, kind: type[Event]) -> None:
        with pytest.raises(OutOfOrder, match=kind.__name__):
            react(None, kind)


class TestPending:
    def test_stock_held_for_the_same_content_asks_for_payment(self) -> None:
        reaction = react(PENDING, InventoryReserved, expires_at=LATER + timedelta(minutes=1))
        assert after(reaction) == order(
            status="reserved", payment="awaited", deadline=LATER + timedelta(minutes=1) + GRACE
        )
        assert list(reaction.emits) == [
            PaymentRequested(
                order_id="o-1",
                user_id="u-1",
                amount=PRICE,
                currency="USD",
                idempotency_key="order-o-1",
                expires_at=LATER + timedelta(minutes=1),
            )
        ]

    @pytest.mark.parametrize(
        "same",
        [
            {"total_amount": Decimal("25")},
            {"items": (Item(product_id="mug", quantity=1), *ITEMS)},
        ],
        ids=["another spelling of the price", "another order of the lines"],
    )
    def test_another_spelling_is_the_same_content(self, same: dict[str, Any]) -> None:
        before = order(items=(*ITEMS, Item(product_id="mug", quantity=1))) if "items" in same else PENDING
        assert types(react(before, InventoryReserved, **same)) == ["PaymentRequested"]

    @pytest.mark.parametrize(
        "other",
        [
            {"total_amount": Decimal("25.01")},
            {"currency": "EUR"},
            {"user_id": "u-2"},
            {"items": (Item(product_id="tea", quantity=3),)},
            {"items": (Item(product_id="mug", quantity=2),)},
            {"items": (Item(product_id="tea", quantity=2, warehouse_id="paris"),)},
            {"items": (*ITEMS, Item(product_id="mug", quantity=1))},
        ],
        ids=["price", "currency", "user", "quantity", "product", "warehouse", "line"],
    )
    def test_stock_held_for_other_content_is_released_uncharged(self, other: dict[str, Any]) -> None:
        reaction = react(PENDING, InventoryReserved, **other)
        assert after(reaction) == compensating(release="awaited", reason="conflicting_request")
        assert types(reaction) == ["InventoryReleaseRequested"]

    def test_no_stock_fails_the_order_at_once(self) -> None:
        reaction = react(PENDING, InventoryReservationFailed)
        assert after(reaction) == order(status="failed", reason="insufficient_stock")
        assert list(reaction.emits) == [
            OrderFailed(order_id="o-1", user_id="u-1", reason="insufficient_stock", status="failed")
        ]

    def test_an_expired_hold_fails_the_order_at_once(self) -> None:
        reaction = react(PENDING, InventoryReservationExpired)
        assert after(reaction) == order(status="failed", reason="reservation_expired")
        assert types(reaction) == ["OrderFailed"]

    def test_a_cancel_asks_for_the_release_only(self) -> None:
        reaction = execute(CANCEL, PENDING)
        assert after(reaction) == compensating(release="awaited", reason="cancelled", ends_as="cancelled")
        assert list(reaction.emits) == [InventoryReleaseRequested(order_id="o-1", reason="cancelled")]

    def test_its_deadline_asks_for_the_release_only(self) -> None:
        reaction = execute(MISS_DEADLINE, PENDING, LATER)
        assert after(reaction) == compensating(release="awaited", reason="deadline_exceeded")
        assert types(reaction) == ["InventoryReleaseRequested"]


class TestReserved:
    def test_paid_asks_for_confirmation(self) -> None:
        reaction = react(RESERVED, PaymentCompleted)
        assert after(reaction) == PAID
        assert list(reaction.emits) == [InventoryConfirmationRequested(order_id="o-1")]

    @pytest.mark.parametrize("other", [{"amount": Decimal("24.99")}, {"currency": "EUR"}])
    def test_another_amount_is_refunded_and_the_stock_released(self, other: dict[str, Any]) -> None:
        reaction = react(RESERVED, PaymentCompleted, **other)
        state = after(reaction)
        assert (state.status, state.release, state.refund) == ("compensating", "awaited", "awaited")
        assert [one.model_dump()["reason"] for one in reaction.emits] == ["conflicting_payment"] * 2
        assert types(reaction) == ["InventoryReleaseRequested", "PaymentRefundRequested"]

    def test_declined_asks_for_the_release(self) -> None:
        reaction = react(RESERVED, PaymentFailed)
        assert after(reaction) == compensating(release="awaited", payment="failed", reason="declined")
        assert types(reaction) == ["InventoryReleaseRequested"]

    def test_an_expired_hold_awaits_the_answer_of_the_payment(self) -> None:
        reaction = react(RESERVED, InventoryReservationExpired)
        assert after(reaction) == compensating(payment="awaited", reason="reservation_expired")
        assert not reaction.emits

    @pytest.mark.parametrize(
        ("transition", "reason", "ends_as"),
        [(CANCEL, "cancelled", "cancelled"), (MISS_DEADLINE, "deadline_exceeded", "failed")],
    )
    def test_cancel_and_deadline_ask_for_release_and_refund(
        self, transition: Transition[Order, datetime], reason: str, ends_as: str
    ) -> None:
        reaction = execute(transition, RESERVED, LATER)
        assert after(reaction) == compensating(
            release="awaited", refund="awaited", payment="awaited", reason=reason, ends_as=ends_as
        )
        assert list(reaction.emits) == [
            InventoryReleaseRequested(order_id="o-1", reason=reason),
            PaymentRefundRequested(order_id="o-1", amount=PRICE, currency="USD", reason=reason),
        ]


class TestPaid:
    def test_an_allocated_order_is_confirmed(self) -> None:
        reaction = react(PAID, InventoryConfirmed)
        assert after(reaction) == CONFIRMED
        assert list(reaction.emits) == [
            OrderCreated(
                order_id="o-1",
                user_id="u-1",
                items=ITEMS,
                total_amount=PRICE,
                currency="USD",
                payment_id="p-1",
            )
        ]

    def test_no_stock_any_more_asks_for_the_refund(self) -> None:
        reaction = react(PAID, InventoryConfirmationFailed)
        assert after(reaction) == AWAITS_REFUND.model_copy(update={"reason": "reservation_expired"})
        assert types(reaction) == ["PaymentRefundRequested"]

    def test_a_cancel_is_refused(self) -> None:
        with pytest.raises(Refused):
            execute(CANCEL, PAID)

    def test_its_deadline_changes_nothing(self) -> None:
        assert execute(MISS_DEADLINE, PAID, LATER + timedelta(days=1)) == Reaction(PAID)

    def test_an_expired_hold_changes_nothing(self) -> None:
        assert react(PAID, InventoryReservationExpired) == Reaction(PAID)

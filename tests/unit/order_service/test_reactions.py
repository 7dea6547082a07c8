"""The order's state table, line by line, and that nothing else changes an order."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.catalogue import (
    Event,
    InventoryConfirmationFailed,
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationExpired,
    InventoryReservationFailed,
    InventoryReservationRequested,
    InventoryReserved,
    OrderCreated,
    OrderFailed,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentRequested,
)
from events.values import Item
from order_service.order import DEFAULT_HOLD, GRACE, TERMINAL, Order
from order_service.reactions import CANCEL, MISS_DEADLINE, PLACE, REACTIONS
from saga.errors import OutOfOrder, Refused
from saga.reactions.reaction import Reaction, Transition
from tests.support.builders import ITEMS, LATER, NOW, PRICE, event, order, types

PENDING = order()
RESERVED = order(status="reserved", payment="awaited")
PAID = order(status="paid", payment="completed", payment_id="p-1")
CONFIRMED = order(status="confirmed", payment="completed", payment_id="p-1")
FAILED = order(status="failed", reason="insufficient_stock")
CANCELLED = order(status="cancelled", reason="cancelled", ends_as="cancelled", release="settled")


def compensating(**changes: Any) -> Order:
    return order(**{"status": "compensating", "reason": "why", **changes})


AWAITS_RELEASE = compensating(release="awaited")
AWAITS_PAYMENT = compensating(payment="awaited")
AWAITS_REFUND = compensating(payment="completed", payment_id="p-1", refund="awaited")
AWAITS_ALL = compensating(release="awaited", refund="awaited", payment="awaited")
RESTS = {"status": "refundPending", "refund_failure": "refused"}
REFUND_PENDING = AWAITS_REFUND.model_copy(update=RESTS)
REFUND_PENDING_AND_ALL = AWAITS_ALL.model_copy(update=RESTS)
STATES = {
    "pending": PENDING,
    "reserved": RESERVED,
    "paid": PAID,
    "confirmed": CONFIRMED,
    "failed": FAILED,
    "cancelled": CANCELLED,
    "awaits release": AWAITS_RELEASE,
    "awaits payment": AWAITS_PAYMENT,
    "awaits refund": AWAITS_REFUND,
    "awaits all": AWAITS_ALL,
    "refundPending": REFUND_PENDING,
    "refundPending, awaits all": REFUND_PENDING_AND_ALL,
}
REACTS: dict[str, set[type[Event]]] = {
    "pending": {
        InventoryReserved,
        InventoryReservationFailed,
        InventoryReservationExpired,
    },
    "reserved": {PaymentCompleted, PaymentFailed, InventoryReservationExpired},
    "paid": {InventoryConfirmed, InventoryConfirmationFailed},
    "confirmed": set(),
    "failed": set(),
    "cancelled": set(),
    "awaits release": {InventoryReleased, PaymentCompleted},
    "awaits payment": {PaymentCompleted, PaymentFailed},
    "awaits refund": {PaymentRefunded, PaymentRefundFailed},
    "awaits all": {InventoryReleased, PaymentRefunded, PaymentRefundFailed, PaymentCompleted, PaymentFailed},
    "refundPending": {PaymentRefunded},
    "refundPending, awaits all": {InventoryReleased, PaymentRefunded, PaymentFailed},
}
"""Which events change which order; no other does."""
INTRODUCE = (InventoryReservationRequested, InventoryReserved, InventoryReservationFailed)
"""The events that carry the whole order."""


def react(before: Order | None, kind: type[Event], **changes: Any) -> Reaction[Order]:
    received = event(kind, **changes)
    return REACTIONS[kind](before, received, NOW)


def after(reaction: Reaction[Order]) -> Order:
    assert reaction.state is not None
    return reaction.state


def execute(
    transition: Transition[Order, datetime], before: Order | None, now: datetime = NOW
) -> Reaction[Order]:
    return transition(before, now)


def emitted(reaction: Reaction[Order], kind: type[Event]) -> Any:
    """Return the one event of this type that a reaction publishes."""
    (found,) = [one for one in reaction.emits if isinstance(one, kind)]
    return found


class TestIntroduction:
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

    @pytest.mark.parametrize("kind", [kind for kind in REACTIONS if kind not in INTRODUCE])
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


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("kind", REACTIONS, ids=lambda kind: kind.__name__)
def test_only_the_listed_events_change_an_order(name: str, kind: type[Event]) -> None:
    reaction = react(STATES[name], kind)
    if kind in REACTS[name]:
        assert reaction.state != STATES[name]
    else:
        assert reaction == Reaction(STATES[name])


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("kind", REACTIONS, ids=lambda kind: kind.__name__)
def test_the_same_event_again_changes_nothing(name: str, kind: type[Event]) -> None:
    once = after(react(STATES[name], kind))
    assert react(once, kind) == Reaction(once)


@pytest.mark.parametrize("kind", REACTIONS, ids=lambda kind: kind.__name__)
def test_every_event_of_a_rule_is_published_in_some_state(kind: type[Event]) -> None:
    received = [event(kind), event(kind).model_copy(update={"currency": "EUR"})]
    told = {type(one) for state in STATES.values() for e in received for one in _told(kind, state, e)}
    assert told == set(REACTIONS[kind].publishes)


def _told(kind: type[Event], before: Order, received: Event) -> list[Event]:
    return list(REACTIONS[kind](before, received, NOW).emits)


@pytest.mark.parametrize("transition", [CANCEL, MISS_DEADLINE], ids=lambda one: one.name)
def test_every_event_of_a_transition_is_published_in_some_state(
    transition: Transition[Order, datetime],
) -> None:
    told = {type(one) for state in (PENDING, RESERVED) for one in execute(transition, state, LATER).emits}
    assert told == set(transition.publishes)


def test_the_states_cover_every_status() -> None:
    assert {state.status for state in STATES.values()} == {
        *("pending", "reserved", "paid", "confirmed"),
        *("compensating", "refundPending", "failed", "cancelled"),
    }


class TestPlace:
    def test_a_new_order_is_pending_and_asks_for_its_stock(self) -> None:
        request = event(InventoryReservationRequested)
        reaction = PLACE(None, request, NOW)
        assert after(reaction) == order(deadline=NOW + DEFAULT_HOLD + GRACE)
        assert list(reaction.emits) == [request]

    @pytest.mark.parametrize("before", STATES.values(), ids=STATES)
    def test_an_order_that_exists_is_left_as_it_is(self, before: Order) -> None:
        assert PLACE(before, event(InventoryReservationRequested), NOW) == Reaction(before)


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
    def test_nothing_happens_before_it(self, before: Order) -> None:
        early = before.deadline - timedelta(microseconds=1)
        assert execute(MISS_DEADLINE, before, early) == Reaction(before)

    @pytest.mark.parametrize("name", sorted(set(STATES) - {"pending", "reserved"}))
    def test_only_an_undecided_order_misses_it(self, name: str) -> None:
        late = LATER + timedelta(days=1)
        assert execute(MISS_DEADLINE, STATES[name], late) == Reaction(STATES[name])

    def test_an_unknown_order_misses_nothing(self) -> None:
        assert execute(MISS_DEADLINE, None) == Reaction(None)


class TestAwaiting:
    @pytest.mark.parametrize(
        ("name", "awaiting"),
        [
            ("pending", ["reservation"]),
            ("reserved", ["payment"]),
            ("paid", ["confirmation"]),
            ("confirmed", []),
            ("failed", []),
            ("cancelled", []),
            ("awaits release", ["release"]),
            ("awaits all", ["payment", "release", "refund"]),
            ("refundPending", ["refund"]),
        ],
    )
    def test_awaiting_names_the_unanswered_requests(self, name: str, awaiting: list[str]) -> None:
        assert STATES[name].awaiting == awaiting


Move = Callable[[Order], Reaction[Order]]


def on(kind: type[Event]) -> Move:
    return lambda before: react(before, kind)


def play(before: Order, *moves: Move) -> tuple[Order, list[str]]:
    """Return the order after these moves, and the types of all they published."""
    published = []
    for move in moves:
        reaction = move(before)
        before = after(reaction)
        published += types(reaction)
    return before, published


class TestAnyOrder:
    """What was caused independently may come in any order, and leads to the same end."""

    @pytest.mark.parametrize("first", [PaymentCompleted, PaymentFailed])
    def test_the_answers_to_a_cancelled_order(self, first: type[Event]) -> None:
        cancelled = after(execute(CANCEL, RESERVED))
        for moves in permutations([on(first), on(PaymentRefunded), on(InventoryReleased)]):
            state, published = play(cancelled, *moves)
            assert state.status == "cancelled"
            assert published == ["OrderFailed"]

    def test_answers_to_a_cancelled_order_with_a_refused_refund(self) -> None:
        cancelled = after(execute(CANCEL, RESERVED))
        answers = [PaymentCompleted, PaymentRefundFailed, PaymentRefunded, InventoryReleased]
        for kinds in permutations(answers):
            state, published = play(cancelled, *map(on, kinds))
            assert state.status == "cancelled"
            assert published == ["OrderFailed"]

    @pytest.mark.parametrize("answer", [PaymentCompleted, PaymentFailed])
    def test_an_expiry_and_the_answer_of_the_payment(self, answer: type[Event]) -> None:
        expired_first, _ = play(RESERVED, on(InventoryReservationExpired), on(answer))
        answered_first, _ = play(RESERVED, on(answer), on(InventoryReservationExpired))
        if answer is PaymentFailed:
            assert expired_first.status == "failed"
            assert answered_first.awaiting == ["release"]
        else:
            assert expired_first.awaiting == ["refund"]
            assert answered_first.awaiting == ["confirmation"]

    def test_the_request_and_its_answer(self) -> None:
        request, answer = event(InventoryReservationRequested), event(InventoryReserved)
        ends = []
        for received in permutations([request, answer]):
            state: Order | None = None
            for one in received:
                state = REACTIONS[type(one)](state, one, NOW).state
            assert state is not None
            ends.append(state.model_copy(update={"request": None}))
        assert ends[0] == ends[1]
        assert ends[0].status == "reserved"

    def test_an_expiry_before_the_news_of_the_hold(self) -> None:
        state, published = play(PENDING, on(InventoryReservationExpired), on(InventoryReserved))
        assert state.status == "failed"
        assert published == ["OrderFailed"]


MOVES: dict[str, Move] = {
    **{kind.__name__: on(kind) for kind in REACTIONS},
    "deadline": lambda before: execute(MISS_DEADLINE, before, LATER + timedelta(days=1)),
    "cancelled": lambda before: (
        execute(CANCEL, before) if before.status in ("pending", "reserved") else Reaction(before)
    ),
}


@given(st.lists(st.sampled_from(sorted(MOVES)), max_size=12))
def test_any_sequence_requests_once_ends_once_and_stays_ended(names: list[str]) -> None:
    state, published = PENDING, list[str]()
    for name in names:
        reaction = MOVES[name](state)
        if state.status in TERMINAL:
            assert reaction == Reaction(state)
        state = after(reaction)
        published += types(reaction)
    assert len(published) == len(set(published))
    ends = {"confirmed": ["OrderCreated"], "failed": ["OrderFailed"], "cancelled": ["OrderFailed"]}
    assert [kind for kind in published if kind.startswith("Order")] == ends.get(state.status, [])
    assert bool(state.awaiting) == (state.status not in TERMINAL)


@given(st.lists(st.sampled_from(sorted(MOVES)), max_size=12))
def test_a_completed_payment_is_refunded_or_the_order_confirmed(names: list[str]) -> None:
    state, published = play(PENDING, *(MOVES[name] for name in names))
    if state.payment == "completed" and state.status in ("failed", "cancelled"):
        assert "PaymentRefundRequested" in published
        assert state.refund == "settled"

"""Events of an order in any sequence lead to the same end."""

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.catalogue import (
    Event,
    InventoryReleased,
    InventoryReservationExpired,
    InventoryReservationRequested,
    InventoryReserved,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
)
from order_service.order import TERMINAL, Order
from order_service.reactions import CANCEL, MISS_DEADLINE, REACTIONS
from saga.reactions.reaction import Reaction
from tests.support.builders import LATER, NOW, event
from tests.support.reactions import after, play, types
from tests.unit.order_service.states import PENDING, RESERVED, execute, react

Move = Callable[[Order], Reaction[Order]]


def on(kind: type[Event]) -> Move:
    return lambda before: react(before, kind)


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

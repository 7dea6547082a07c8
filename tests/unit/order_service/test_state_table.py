"""The state table of an order: only the listed events change it."""

from datetime import datetime

import pytest

from events.catalogue import (
    Event,
    InventoryConfirmationFailed,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReservationExpired,
    InventoryReservationFailed,
    InventoryReservationRequested,
    InventoryReserved,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
)
from events.values import DEFAULT_HOLD
from order_service.order import GRACE, Order
from order_service.reactions import CANCEL, MISS_DEADLINE, PLACE, REACTIONS
from saga.reactions.reaction import Reaction, Transition
from tests.support.builders import LATER, NOW, event, order
from tests.support.reactions import after
from tests.unit.order_service.states import PENDING, RESERVED, STATES, execute, react

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
    published = {
        type(one) for state in STATES.values() for e in received for one in _published(kind, state, e)
    }
    assert published == set(REACTIONS[kind].publishes)


def _published(kind: type[Event], before: Order, received: Event) -> list[Event]:
    return list(REACTIONS[kind](before, received, NOW).emits)


@pytest.mark.parametrize("transition", [CANCEL, MISS_DEADLINE], ids=lambda one: one.name)
def test_every_event_of_a_transition_is_published_in_some_state(
    transition: Transition[Order, datetime],
) -> None:
    published = {
        type(one) for state in (PENDING, RESERVED) for one in execute(transition, state, LATER).emits
    }
    assert published == set(transition.publishes)


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

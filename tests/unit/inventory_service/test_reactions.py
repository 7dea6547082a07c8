"""The reservation's state table, line by line, and what each change does to the stock."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.catalogue import (
    INVENTORY,
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
)
from events.identity import transition_id
from events.values import HeldLine, Item, Shortage
from inventory_service.reactions import (
    CONFIRM_DIRECTLY,
    EXPIRE,
    HOLD_DIRECTLY,
    REACTIONS,
    RELEASE_DIRECTLY,
    InsufficientStock,
    ReservationContext,
    StockReaction,
)
from inventory_service.reservation import Hold, Reservation
from inventory_service.stock import StockMove
from saga.errors import OutOfOrder, Refused
from saga.reactions.reaction import Reaction, Transition
from tests.support.builders import (
    BERLIN,
    ITEMS,
    LATER,
    LINES,
    NOW,
    PRICE,
    context,
    event,
    reservation,
    types,
)

HELD = reservation()
ALLOCATED = reservation(status="allocated", confirmation_record="e-confirm")
EXPIRED = reservation(status="expired")
REJECTED = reservation(status="rejected", lines=(), expires_at=None)
RELEASED = reservation(status="released", release_record="e-release")
TOMBSTONE = Reservation(
    order_id="o-1", correlation_id="c-1", status="released", release_record="e-InventoryReleaseRequested"
)
HELD_DIRECTLY = reservation(saga=False, total_amount=None, request_record=None)
ALLOCATED_DIRECTLY = HELD_DIRECTLY.model_copy(update={"status": "allocated"})
RELEASED_DIRECTLY = HELD_DIRECTLY.model_copy(update={"status": "released"})
EXPIRED_DIRECTLY = HELD_DIRECTLY.model_copy(update={"status": "expired"})
SAGA_STATES = {
    "held": HELD,
    "allocated": ALLOCATED,
    "expired": EXPIRED,
    "rejected": REJECTED,
    "released": RELEASED,
    "tombstone": TOMBSTONE,
}
HAND_STATES = {
    "held": HELD_DIRECTLY,
    "allocated": ALLOCATED_DIRECTLY,
    "released": RELEASED_DIRECTLY,
    "expired": EXPIRED_DIRECTLY,
}
PLACE = ("berlin", "tea")
TAKE = StockMove(PLACE, available=-2, reserved=2)
ALLOCATE = StockMove(PLACE, reserved=-2, allocated=2)
GIVE_BACK = StockMove(PLACE, available=2, reserved=-2)

Change = Transition[Reservation, ReservationContext]


def react(
    before: Reservation | None, kind: type[Event], around: ReservationContext | None = None, **changes: Any
) -> Reaction[Reservation]:
    return REACTIONS[kind](before, event(kind, **changes), around or context())


def after(reaction: Reaction[Reservation]) -> Reservation:
    assert reaction.state is not None
    return reaction.state


def moves(reaction: Reaction[Reservation]) -> list[StockMove]:
    return list(reaction.moves) if isinstance(reaction, StockReaction) else []


def hold(**changes: Any) -> Hold:
    asked = Hold(
        order_id="o-1",
        user_id="u-1",
        items=ITEMS,
        user_location=None,
        total_amount=None,
        currency="USD",
        expires_in=None,
        payment_method=None,
    )
    return replace(asked, **changes)


class TestRequest:
    def test_stock_that_is_there_is_held(self) -> None:
        reaction = react(None, InventoryReservationRequested, payment_method="sim:approve")
        assert after(reaction) == reservation(
            payment_method="sim:approve", request_record="e-InventoryReservationRequested"
        )
        assert list(reaction.emits) == [
            InventoryReserved(
                order_id="o-1",
                user_id="u-1",
                items=ITEMS,
                total_amount=PRICE,
                currency="USD",
                payment_method="sim:approve",
                reservations=LINES,
                expires_at=LATER,
            )
        ]
        assert moves(reaction) == [TAKE]

    def test_a_hold_lasts_as_long_as_the_request_says(self) -> None:
        reaction = react(None, InventoryReservationRequested, expires_in=30)
        assert after(reaction).expires_at == NOW + timedelta(seconds=30)

    def test_the_place_of_the_user_is_kept_for_a_second_attempt(self) -> None:
        assert after(react(None, InventoryReservationRequested, user_location=BERLIN)).user_location == BERLIN

    @pytest.mark.parametrize(
        ("item", "reason", "shortages"),
        [
            (
                Item(product_id="tea", quantity=11),
                "insufficient_stock",
                (Shortage(product_id="tea", requested=11, available=10),),
            ),
            (
                Item(product_id="mug", quantity=1),
                "unknown_product",
                (Shortage(product_id="mug", requested=1, available=0),),
            ),
            (Item(product_id="tea", quantity=1, warehouse_id="mars"), "unknown_warehouse", ()),
        ],
        ids=["too little", "unknown product", "unknown warehouse"],
    )
    def test_a_request_without_enough_stock_is_rejected(
        self, item: Item, reason: str, shortages: tuple[Shortage, ...]
    ) -> None:
        reaction = react(None, InventoryReservationRequested, items=(item,))
        assert (after(reaction).status, after(reaction).lines) == ("rejected", ())
        assert list(reaction.emits) == [
            InventoryReservationFailed(
                order_id="o-1",
                user_id="u-1",
                items=(item,),
                total_amount=PRICE,
                currency="USD",
                reason=reason,
                shortages=shortages,
            )
        ]
        assert not moves(reaction)

    @pytest.mark.parametrize("name", sorted(set(SAGA_STATES) - {"tombstone"}))
    @pytest.mark.parametrize("items", [ITEMS, (Item(product_id="mug", quantity=9),)], ids=["same", "other"])
    def test_any_later_request_gets_the_first_answer_again(self, name: str, items: tuple[Item, ...]) -> None:
        before = SAGA_STATES[name]
        reaction = react(before, InventoryReservationRequested, items=items)
        assert reaction == Reaction(before, repeat_of="e-request")

    def test_a_tombstone_answers_that_nothing_is_held(self) -> None:
        reaction = react(TOMBSTONE, InventoryReservationRequested)
        assert after(reaction).status == "released"
        assert types(reaction) == ["InventoryReservationFailed"]
        assert next(iter(reaction.emits)).model_dump()["reason"] == "released"
        assert not moves(reaction)

    def test_a_tombstone_gives_a_second_request_the_same_answer(self) -> None:
        once = after(react(TOMBSTONE, InventoryReservationRequested))
        assert react(once, InventoryReservationRequested, event_id="e-2") == Reaction(
            once, repeat_of="e-InventoryReservationRequested"
        )


class TestConfirmation:
    def test_a_hold_becomes_an_allocation(self) -> None:
        reaction = react(HELD, InventoryConfirmationRequested)
        assert after(reaction) == reservation(
            status="allocated", confirmation_record="e-InventoryConfirmationRequested"
        )
        assert list(reaction.emits) == [InventoryConfirmed(order_id="o-1", reservations=LINES)]
        assert moves(reaction) == [ALLOCATE]

    def test_an_allocation_gives_the_first_answer_again(self) -> None:
        reaction = react(ALLOCATED, InventoryConfirmationRequested)
        assert reaction == Reaction(ALLOCATED, repeat_of="e-confirm")

    def test_an_expired_hold_is_allocated_from_available_stock(self) -> None:
        reaction = react(EXPIRED, InventoryConfirmationRequested, context(paris=5, berlin=1))
        lines = (HeldLine(reservation_id="o-1", product_id="tea", warehouse_id="paris", quantity=2),)
        assert after(reaction).status == "allocated"
        assert after(reaction).lines == lines
        assert after(reaction).confirmation_record == "e-InventoryConfirmationRequested"
        assert list(reaction.emits) == [InventoryConfirmed(order_id="o-1", reservations=lines)]
        assert moves(reaction) == [StockMove(("paris", "tea"), available=-2, allocated=2)]

    def test_an_expired_hold_is_rejected_if_the_stock_is_gone(self) -> None:
        reaction = react(EXPIRED, InventoryConfirmationRequested, context(berlin=1))
        assert after(reaction) == reservation(status="rejected")
        assert list(reaction.emits) == [
            InventoryConfirmationFailed(order_id="o-1", reason="reservation_expired")
        ]
        assert not moves(reaction)

    def test_a_rejected_confirmation_stays_rejected(self) -> None:
        rejected = after(react(EXPIRED, InventoryConfirmationRequested, context(berlin=1)))
        reaction = react(rejected, InventoryConfirmationRequested, context(berlin=9), event_id="e-2")
        assert reaction.state == rejected
        assert types(reaction) == ["InventoryConfirmationFailed"]

    @pytest.mark.parametrize("name", ["released", "rejected", "tombstone"])
    def test_a_released_or_rejected_reservation_is_not_confirmed(self, name: str) -> None:
        before = SAGA_STATES[name]
        reaction = react(before, InventoryConfirmationRequested)
        assert reaction == Reaction(
            before,
            [InventoryConfirmationFailed(order_id="o-1", reason=f"reservation_{before.status}")],
        )

    def test_of_something_unknown_it_waits(self) -> None:
        with pytest.raises(OutOfOrder):
            react(None, InventoryConfirmationRequested)


class TestRelease:
    def test_a_hold_is_released(self) -> None:
        reaction = react(HELD, InventoryReleaseRequested)
        assert after(reaction) == reservation(status="released", release_record="e-InventoryReleaseRequested")
        assert list(reaction.emits) == [InventoryReleased(order_id="o-1", reservations=LINES)]
        assert moves(reaction) == [GIVE_BACK]

    def test_before_the_request_it_leaves_a_tombstone(self) -> None:
        reaction = react(None, InventoryReleaseRequested)
        assert after(reaction) == TOMBSTONE
        assert list(reaction.emits) == [InventoryReleased(order_id="o-1")]
        assert not moves(reaction)

    @pytest.mark.parametrize("before", [EXPIRED, REJECTED], ids=["expired", "rejected"])
    def test_releasing_a_reservation_without_stock_moves_nothing(self, before: Reservation) -> None:
        reaction = react(before, InventoryReleaseRequested)
        assert after(reaction).status == "released"
        assert list(reaction.emits) == [InventoryReleased(order_id="o-1")]
        assert not moves(reaction)

    def test_an_allocation_is_left_alone(self) -> None:
        assert react(ALLOCATED, InventoryReleaseRequested) == Reaction(ALLOCATED)

    @pytest.mark.parametrize("before", [RELEASED, TOMBSTONE], ids=["released", "tombstone"])
    def test_a_second_one_gets_the_first_answer_again(self, before: Reservation) -> None:
        reaction = react(before, InventoryReleaseRequested, event_id="e-2")
        assert reaction == Reaction(before, repeat_of=before.release_record)


class TestExpiry:
    @pytest.mark.parametrize("late", [timedelta(0), timedelta(days=1)])
    def test_an_overdue_hold_expires(self, late: timedelta) -> None:
        reaction = EXPIRE(HELD, context(LATER + late))
        assert after(reaction) == EXPIRED
        assert list(reaction.emits) == [InventoryReservationExpired(order_id="o-1", reservations=LINES)]
        assert moves(reaction) == [GIVE_BACK]

    def test_not_a_moment_before(self) -> None:
        early = context(LATER - timedelta(microseconds=1))
        assert EXPIRE(HELD, early) == Reaction(HELD)

    @pytest.mark.parametrize("name", sorted(set(SAGA_STATES) - {"held"}))
    def test_only_a_hold_expires(self, name: str) -> None:
        late = context(LATER + timedelta(days=1))
        assert EXPIRE(SAGA_STATES[name], late) == Reaction(SAGA_STATES[name])

    def test_nothing_expires_of_something_unknown(self) -> None:
        assert EXPIRE(None, context(LATER)) == Reaction(None)

    def test_a_direct_hold_expires_without_an_event(self) -> None:
        reaction = EXPIRE(HELD_DIRECTLY, context(LATER))
        assert after(reaction) == EXPIRED_DIRECTLY
        assert not reaction.emits
        assert moves(reaction) == [GIVE_BACK]


class TestByHand:
    def test_a_hold_without_a_price_starts_no_saga(self) -> None:
        reaction = HOLD_DIRECTLY(None, hold(), context())
        assert after(reaction) == HELD_DIRECTLY.model_copy(update={"correlation_id": "o-1"})
        assert not reaction.emits
        assert moves(reaction) == [TAKE]

    def test_a_hold_with_a_price_starts_one(self) -> None:
        reaction = HOLD_DIRECTLY(None, hold(total_amount=PRICE, expires_in=30), context())
        assert after(reaction).saga
        assert after(reaction).request_record == transition_id(INVENTORY, "o-1", "hold_directly")
        assert after(reaction).expires_at == NOW + timedelta(seconds=30)
        assert types(reaction) == ["InventoryReserved"]
        assert moves(reaction) == [TAKE]

    def test_too_little_stock_is_refused_with_the_shortages(self) -> None:
        with pytest.raises(InsufficientStock, match="insufficient_stock") as refusal:
            HOLD_DIRECTLY(None, hold(), context(berlin=1))
        assert refusal.value.shortages == (Shortage(product_id="tea", requested=2, available=1),)

    @pytest.mark.parametrize(
        "before", [*SAGA_STATES.values(), *HAND_STATES.values()], ids=lambda before: before.status
    )
    def test_a_second_hold_changes_nothing(self, before: Reservation) -> None:
        assert HOLD_DIRECTLY(before, hold(), context()) == Reaction(before)

    def test_a_hold_of_no_saga_is_confirmed(self) -> None:
        reaction = CONFIRM_DIRECTLY(HELD_DIRECTLY, context())
        assert after(reaction) == ALLOCATED_DIRECTLY
        assert moves(reaction) == [ALLOCATE]

    def test_a_hold_of_no_saga_is_released(self) -> None:
        reaction = RELEASE_DIRECTLY(HELD_DIRECTLY, context())
        assert after(reaction) == RELEASED_DIRECTLY
        assert moves(reaction) == [GIVE_BACK]

    @pytest.mark.parametrize("change", [CONFIRM_DIRECTLY, RELEASE_DIRECTLY], ids=lambda change: change.name)
    @pytest.mark.parametrize("before", SAGA_STATES.values(), ids=SAGA_STATES)
    def test_a_sagas_reservation_cannot_be_changed_directly(
        self, change: Change, before: Reservation
    ) -> None:
        with pytest.raises(Refused, match="belongs to a saga"):
            change(before, context())

    @pytest.mark.parametrize("change", [CONFIRM_DIRECTLY, RELEASE_DIRECTLY], ids=lambda change: change.name)
    def test_an_unknown_reservation_cannot_be_changed_directly(self, change: Change) -> None:
        with pytest.raises(OutOfOrder):
            change(None, context())

    @pytest.mark.parametrize(
        ("change", "before"),
        [
            (CONFIRM_DIRECTLY, ALLOCATED_DIRECTLY),
            (RELEASE_DIRECTLY, RELEASED_DIRECTLY),
            (RELEASE_DIRECTLY, EXPIRED_DIRECTLY),
        ],
        ids=["confirmed", "released", "expired"],
    )
    def test_repeated_direct_changes_change_nothing(self, change: Change, before: Reservation) -> None:
        assert change(before, context()) == Reaction(before)

    @pytest.mark.parametrize(
        ("change", "before"),
        [
            (CONFIRM_DIRECTLY, RELEASED_DIRECTLY),
            (CONFIRM_DIRECTLY, EXPIRED_DIRECTLY),
            (RELEASE_DIRECTLY, ALLOCATED_DIRECTLY),
        ],
        ids=["confirm released", "confirm expired", "release allocated"],
    )
    def test_late_direct_changes_are_refused(self, change: Change, before: Reservation) -> None:
        with pytest.raises(Refused, match=before.status):
            change(before, context())


class TestSagaTakesOver:
    """A saga that asks for what was held by hand."""

    def test_the_answer_names_what_is_held(self) -> None:
        reaction = react(
            HELD_DIRECTLY.model_copy(update={"correlation_id": "o-1"}),
            InventoryReservationRequested,
            user_id="u-2",
            currency="EUR",
            payment_method="sim:approve",
        )
        assert after(reaction) == reservation(
            currency="EUR",
            payment_method="sim:approve",
            request_record="e-InventoryReservationRequested",
        )
        (answer,) = reaction.emits
        assert isinstance(answer, InventoryReserved)
        assert (answer.user_id, answer.items, answer.reservations) == ("u-1", ITEMS, LINES)
        assert not moves(reaction)

    @pytest.mark.parametrize("name", ["allocated", "released", "expired"])
    def test_a_saga_cannot_take_over_an_ended_hold(self, name: str) -> None:
        reaction = react(HAND_STATES[name], InventoryReservationRequested)
        assert after(reaction).status == name
        assert types(reaction) == ["InventoryReservationFailed"]
        assert not moves(reaction)

    def test_a_second_request_gets_the_answer_of_the_first(self) -> None:
        joined = after(react(HELD_DIRECTLY, InventoryReservationRequested))
        assert react(joined, InventoryReservationRequested, event_id="e-2") == Reaction(
            joined, repeat_of="e-InventoryReservationRequested"
        )

    @pytest.mark.parametrize("name", ["held", "released", "expired"])
    def test_its_release_is_answered(self, name: str) -> None:
        reaction = react(HAND_STATES[name], InventoryReleaseRequested)
        assert (after(reaction).status, after(reaction).saga) == ("released", True)
        assert types(reaction) == ["InventoryReleased"]
        assert moves(reaction) == ([GIVE_BACK] if name == "held" else [])

    @pytest.mark.parametrize("joined_first", [True, False])
    def test_releasing_a_direct_allocation_moves_nothing(self, joined_first: bool) -> None:
        """No saga owns it, so an order that is cancelled must not wait for its release for ever."""
        before = ALLOCATED_DIRECTLY
        if joined_first:
            before = after(react(before, InventoryReservationRequested))
        reaction = react(before, InventoryReleaseRequested)
        assert list(reaction.emits) == [InventoryReleased(order_id="o-1")]
        assert (after(reaction).status, after(reaction).saga) == ("allocated", True)
        assert not moves(reaction)
        assert react(after(reaction), InventoryReleaseRequested, event_id="e-2") == Reaction(
            after(reaction), repeat_of="e-InventoryReleaseRequested"
        )

    @pytest.mark.parametrize("first", [InventoryReleaseRequested, InventoryConfirmationRequested])
    def test_a_request_after_its_release_or_confirmation_is_answered(self, first: type[Event]) -> None:
        """Nobody has answered a request for what was held by hand."""
        before = after(react(HELD_DIRECTLY, first))
        reaction = react(before, InventoryReservationRequested)
        assert types(reaction) == ["InventoryReservationFailed"]
        assert not moves(reaction)

    def test_its_confirmation_allocates(self) -> None:
        reaction = react(HELD_DIRECTLY, InventoryConfirmationRequested)
        assert (after(reaction).status, after(reaction).saga) == ("allocated", True)
        assert types(reaction) == ["InventoryConfirmed"]
        assert moves(reaction) == [ALLOCATE]

    def test_its_confirmation_of_an_allocation_is_answered(self) -> None:
        reaction = react(ALLOCATED_DIRECTLY, InventoryConfirmationRequested)
        assert (after(reaction).status, after(reaction).saga) == ("allocated", True)
        assert types(reaction) == ["InventoryConfirmed"]
        assert not moves(reaction)


CHANGES: dict[str, set[type[Event]]] = {
    "held": {InventoryConfirmationRequested, InventoryReleaseRequested},
    "allocated": set(),
    "expired": {InventoryConfirmationRequested, InventoryReleaseRequested},
    "rejected": {InventoryReleaseRequested},
    "released": set(),
    "tombstone": set(),
}
"""Which events change the status of which reservation, or its stock; a released one is only asked again."""


@pytest.mark.parametrize("name", SAGA_STATES)
@pytest.mark.parametrize("kind", REACTIONS, ids=lambda kind: kind.__name__)
def test_only_the_listed_events_change_a_reservation(name: str, kind: type[Event]) -> None:
    before = SAGA_STATES[name]
    reaction = react(before, kind)
    if kind in CHANGES[name]:
        assert after(reaction).status != before.status
    elif name == "tombstone" and kind is InventoryReservationRequested:
        assert (after(reaction).status, after(reaction).lines) == (before.status, before.lines)
        assert not moves(reaction)
    else:
        assert reaction.state == before
        assert not moves(reaction)


@pytest.mark.parametrize("kind", REACTIONS, ids=lambda kind: kind.__name__)
def test_every_event_of_a_rule_is_published_in_some_state(kind: type[Event]) -> None:
    told: set[type[Event]] = set()
    for before in (None, *SAGA_STATES.values()):
        with suppress(OutOfOrder):
            told |= {type(one) for one in react(before, kind).emits}
    assert told == set(REACTIONS[kind].publishes)


def test_the_states_cover_every_status() -> None:
    assert {state.status for state in SAGA_STATES.values()} == {
        "held",
        "rejected",
        "allocated",
        "released",
        "expired",
    }


Deed = Callable[[Reservation | None, ReservationContext], Reaction[Reservation]]


def on(kind: type[Event]) -> Deed:
    return lambda before, around: react(before, kind, around)


def expiry(before: Reservation | None, around: ReservationContext) -> Reaction[Reservation]:
    return EXPIRE(before, replace(around, now=LATER + timedelta(days=1)))


def rival(before: Reservation | None, around: ReservationContext) -> Reaction[Reservation]:
    """Take all that is free at the moment, for somebody else."""
    available = around.stock.available[PLACE]
    return StockReaction(before, moves=[StockMove(PLACE, available=-available, reserved=available)])


def play(deeds: Iterable[Deed], around: ReservationContext) -> tuple[Reservation | None, list[str]]:
    """Return the reservation after these deeds, and the types of all that was published."""
    state, published = None, list[str]()
    for deed in deeds:
        try:
            reaction = deed(state, around)
        except OutOfOrder:
            continue
        around.stock.apply(moves(reaction))
        state = reaction.state
        published += types(reaction)
    return state, published


def balance(around: ReservationContext) -> Counter[str]:
    return around.stock.moved.get(PLACE, Counter())


def test_a_request_and_its_release_in_any_order_hold_nothing() -> None:
    for deeds in permutations([on(InventoryReservationRequested), on(InventoryReleaseRequested)]):
        around = context()
        state, published = play(deeds, around)
        assert state is not None
        assert state.status == "released"
        assert "InventoryReleased" in published
        assert not any(balance(around).values())


def test_confirmation_and_expiry_in_any_order_allocate_the_stock() -> None:
    for deeds in permutations([on(InventoryConfirmationRequested), expiry]):
        around = context()
        state, _ = play([on(InventoryReservationRequested), *deeds], around)
        assert state is not None
        assert state.status == "allocated"
        assert balance(around) == Counter(available=-2, allocated=2)


def test_confirmation_and_release_in_any_order_fit_the_answers() -> None:
    ends = {}
    for deeds in permutations([on(InventoryConfirmationRequested), on(InventoryReleaseRequested)]):
        state, published = play([on(InventoryReservationRequested), *deeds], context())
        assert state is not None
        ends[state.status] = published[1:]
    assert ends == {
        "allocated": ["InventoryConfirmed"],
        "released": ["InventoryReleased", "InventoryConfirmationFailed"],
    }


DEEDS: dict[str, Deed] = {**{kind.__name__: on(kind) for kind in REACTIONS}, "expiry": expiry, "rival": rival}


@given(st.lists(st.sampled_from(sorted(DEEDS)), max_size=12))
def test_any_sequence_balances_the_stock(names: list[str]) -> None:
    around = context(berlin=3)
    mine: Counter[str] = Counter()
    state: Reservation | None = None
    for name in names:
        try:
            reaction = DEEDS[name](state, around)
        except OutOfOrder:
            assert state is None
            continue
        around.stock.apply(moves(reaction))
        assert around.stock.available[PLACE] >= 0
        assert all(move.available + move.reserved + move.allocated == 0 for move in moves(reaction))
        if name != "rival":
            for move in moves(reaction):
                mine.update(reserved=move.reserved, allocated=move.allocated)
            assert {
                after(reaction).status for one in reaction.emits if isinstance(one, InventoryConfirmed)
            } <= {"allocated"}
        state = reaction.state
    status = state.status if state else None
    assert mine["reserved"] == (2 if status == "held" else 0)
    assert mine["allocated"] == (2 if status == "allocated" else 0)

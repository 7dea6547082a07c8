"""Events of a reservation in any sequence keep the stock balanced."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from events.catalogue import (
    Event,
    InventoryConfirmationRequested,
    InventoryConfirmed,
    InventoryReleaseRequested,
    InventoryReservationRequested,
)
from inventory_service.context import ReservationContext, StockReaction
from inventory_service.reactions import EXPIRE, REACTIONS
from inventory_service.reservation import Reservation
from inventory_service.stock import StockMove
from saga.errors import OutOfOrder
from saga.reactions.reaction import Reaction
from tests.support.builders import LATER, context
from tests.support.reactions import after, types
from tests.unit.inventory_service.states import STOCK_KEY, moves, react

Change = Callable[[Reservation | None, ReservationContext], Reaction[Reservation]]


def on(kind: type[Event]) -> Change:
    return lambda before, around: react(before, kind, around)


def expiry(before: Reservation | None, around: ReservationContext) -> Reaction[Reservation]:
    return EXPIRE(before, replace(around, now=LATER + timedelta(days=1)))


def rival(before: Reservation | None, around: ReservationContext) -> Reaction[Reservation]:
    """Take all available stock for another order."""
    available = around.stock.available[STOCK_KEY]
    return StockReaction(before, moves=[StockMove(STOCK_KEY, available=-available, reserved=available)])


def run(changes: Iterable[Change], around: ReservationContext) -> tuple[Reservation | None, list[str]]:
    """Return the reservation after these changes, and the types of all that was published."""
    state, published = None, list[str]()
    for change in changes:
        try:
            reaction = change(state, around)
        except OutOfOrder:
            continue
        around.stock.apply(moves(reaction))
        state = reaction.state
        published += types(reaction)
    return state, published


def balance(around: ReservationContext) -> Counter[str]:
    return around.stock.moved.get(STOCK_KEY, Counter())


def test_a_request_and_its_release_in_any_order_hold_nothing() -> None:
    for changes in permutations([on(InventoryReservationRequested), on(InventoryReleaseRequested)]):
        around = context()
        state, published = run(changes, around)
        assert state is not None
        assert state.status == "released"
        assert "InventoryReleased" in published
        assert not any(balance(around).values())


def test_confirmation_and_expiry_in_any_order_allocate_the_stock() -> None:
    for changes in permutations([on(InventoryConfirmationRequested), expiry]):
        around = context()
        state, _ = run([on(InventoryReservationRequested), *changes], around)
        assert state is not None
        assert state.status == "allocated"
        assert balance(around) == Counter(available=-2, allocated=2)


def test_confirmation_and_release_in_any_order_fit_the_answers() -> None:
    ends = {}
    for changes in permutations([on(InventoryConfirmationRequested), on(InventoryReleaseRequested)]):
        state, published = run([on(InventoryReservationRequested), *changes], context())
        assert state is not None
        ends[state.status] = published[1:]
    assert ends == {
        "allocated": ["InventoryConfirmed"],
        "released": ["InventoryReleased", "InventoryConfirmationFailed"],
    }


ALL_CHANGES: dict[str, Change] = {
    **{kind.__name__: on(kind) for kind in REACTIONS},
    "expiry": expiry,
    "rival": rival,
}


@given(st.lists(st.sampled_from(sorted(ALL_CHANGES)), max_size=12))
def test_any_sequence_balances_the_stock(names: list[str]) -> None:
    around = context(berlin=3)
    mine: Counter[str] = Counter()
    state: Reservation | None = None
    for name in names:
        try:
            reaction = ALL_CHANGES[name](state, around)
        except OutOfOrder:
            assert state is None
            continue
        around.stock.apply(moves(reaction))
        assert around.stock.available[STOCK_KEY] >= 0
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

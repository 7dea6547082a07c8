"""Holds over HTTP outside any saga, and sagas that take one over."""

from datetime import timedelta

import pytest

from events.catalogue import (
    INVENTORY,
    Event,
    InventoryConfirmationRequested,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationRequested,
    InventoryReserved,
)
from events.identity import transition_id
from events.values import Shortage
from inventory_service.context import ReservationContext
from inventory_service.reactions import CONFIRM_DIRECTLY, HOLD_DIRECTLY, RELEASE_DIRECTLY, InsufficientStock
from inventory_service.reservation import Reservation
from saga.errors import OutOfOrder, Refused
from saga.reactions.reaction import Reaction, Transition
from tests.support.builders import ITEMS, LINES, NOW, PRICE, context, reservation
from tests.support.reactions import after, types
from tests.unit.inventory_service.states import (
    ALLOCATE,
    ALLOCATED_DIRECTLY,
    DIRECT_STATES,
    EXPIRED_DIRECTLY,
    HELD_DIRECTLY,
    RELEASE,
    RELEASED_DIRECTLY,
    SAGA_STATES,
    TAKE,
    hold,
    moves,
    react,
)

Change = Transition[Reservation, ReservationContext]


class TestDirectHolds:
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
        "before", [*SAGA_STATES.values(), *DIRECT_STATES.values()], ids=lambda before: before.status
    )
    def test_a_second_hold_changes_nothing(self, before: Reservation) -> None:
        assert HOLD_DIRECTLY(before, hold(), context()) == Reaction(before)

    def test_a_direct_hold_is_confirmed(self) -> None:
        reaction = CONFIRM_DIRECTLY(HELD_DIRECTLY, context())
        assert after(reaction) == ALLOCATED_DIRECTLY
        assert moves(reaction) == [ALLOCATE]

    def test_a_direct_hold_is_released(self) -> None:
        reaction = RELEASE_DIRECTLY(HELD_DIRECTLY, context())
        assert after(reaction) == RELEASED_DIRECTLY
        assert moves(reaction) == [RELEASE]

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
    """A saga that requests what is held directly."""

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
        reaction = react(DIRECT_STATES[name], InventoryReservationRequested)
        assert after(reaction).status == name
        assert types(reaction) == ["InventoryReservationFailed"]
        assert not moves(reaction)

    def test_a_second_request_gets_the_answer_of_the_first(self) -> None:
        joined = after(react(HELD_DIRECTLY, InventoryReservationRequested))
        assert react(joined, InventoryReservationRequested, event_id="e-2") == Reaction(
            joined, repeat_of="e-InventoryReservationRequested"
        )

    @pytest.mark.parametrize("name", ["held", "released", "expired"])
    def test_a_sagas_release_of_a_direct_hold_is_answered(self, name: str) -> None:
        reaction = react(DIRECT_STATES[name], InventoryReleaseRequested)
        assert (after(reaction).status, after(reaction).saga) == ("released", True)
        assert types(reaction) == ["InventoryReleased"]
        assert moves(reaction) == ([RELEASE] if name == "held" else [])

    @pytest.mark.parametrize("joined_first", [True, False])
    def test_releasing_a_direct_allocation_moves_nothing(self, joined_first: bool) -> None:
        """No saga owns the allocation, so a cancelled order must not wait for its release."""
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
        """A direct hold has answered no request before."""
        before = after(react(HELD_DIRECTLY, first))
        reaction = react(before, InventoryReservationRequested)
        assert types(reaction) == ["InventoryReservationFailed"]
        assert not moves(reaction)

    def test_a_sagas_confirmation_allocates_a_direct_hold(self) -> None:
        reaction = react(HELD_DIRECTLY, InventoryConfirmationRequested)
        assert (after(reaction).status, after(reaction).saga) == ("allocated", True)
        assert types(reaction) == ["InventoryConfirmed"]
        assert moves(reaction) == [ALLOCATE]

    def test_a_sagas_confirmation_of_a_direct_allocation_is_answered(self) -> None:
        reaction = react(ALLOCATED_DIRECTLY, InventoryConfirmationRequested)
        assert (after(reaction).status, after(reaction).saga) == ("allocated", True)
        assert types(reaction) == ["InventoryConfirmed"]
        assert not moves(reaction)

"""Reactions of the inventory service to a saga's requests, and the expiry of holds."""

from datetime import timedelta

import pytest

from events.catalogue import (
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
from events.values import HeldLine, Item, Shortage
from inventory_service.reactions import EXPIRE
from inventory_service.reservation import Reservation
from inventory_service.stock import StockMove
from saga.errors import OutOfOrder
from saga.reactions.reaction import Reaction
from tests.support.builders import BERLIN, ITEMS, LATER, LINES, NOW, PRICE, context, reservation
from tests.support.reactions import after, types
from tests.unit.inventory_service.states import (
    ALLOCATE,
    ALLOCATED,
    EXPIRED,
    EXPIRED_DIRECTLY,
    HELD,
    HELD_DIRECTLY,
    REJECTED,
    RELEASE,
    RELEASED,
    SAGA_STATES,
    TAKE,
    TOMBSTONE,
    moves,
    react,
)


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

    def test_confirming_an_unknown_reservation_is_out_of_order(self) -> None:
        with pytest.raises(OutOfOrder):
            react(None, InventoryConfirmationRequested)


class TestRelease:
    def test_a_hold_is_released(self) -> None:
        reaction = react(HELD, InventoryReleaseRequested)
        assert after(reaction) == reservation(status="released", release_record="e-InventoryReleaseRequested")
        assert list(reaction.emits) == [InventoryReleased(order_id="o-1", reservations=LINES)]
        assert moves(reaction) == [RELEASE]

    def test_a_release_before_the_request_leaves_a_tombstone(self) -> None:
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
    def test_a_repeated_request_gets_the_first_answer_again(self, before: Reservation) -> None:
        reaction = react(before, InventoryReleaseRequested, event_id="e-2")
        assert reaction == Reaction(before, repeat_of=before.release_record)


class TestExpiry:
    @pytest.mark.parametrize("late", [timedelta(0), timedelta(days=1)])
    def test_an_overdue_hold_expires(self, late: timedelta) -> None:
        reaction = EXPIRE(HELD, context(LATER + late))
        assert after(reaction) == EXPIRED
        assert list(reaction.emits) == [InventoryReservationExpired(order_id="o-1", reservations=LINES)]
        assert moves(reaction) == [RELEASE]

    def test_a_hold_does_not_expire_early(self) -> None:
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
        assert moves(reaction) == [RELEASE]

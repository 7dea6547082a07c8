"""Each promise is broken once, in what the services keep, and has to be named."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from events.values import Item
from inventory_service.reservation import Reservation
from order_service.order import Order
from payment_service.payment import Payment
from tests.support.builders import ITEMS, LINES, NOW, PRICE
from verification.invariants.books import MoneyBook, StockBook, StockLevel, moved
from verification.invariants.case import Case, Kept, Unreadable, kept
from verification.invariants.rules import OVERDUE, RULES, When, findings, forgotten, resting, settled

LONG_AGO = NOW - timedelta(hours=1)
AT_REST = When(NOW, at_rest=True)
RUNNING = When(NOW)
Change = dict[str, Any]

IDS = {"orderId": "o-1", "correlationId": "o-1"}


def told(kind: str, number: int = 1, **fields: Any) -> Change:
    """Return an event as a journal keeps it."""
    return {"type": kind, "eventId": f"{kind}-{number}", "orderId": "o-1", **fields}


def order(status: str = "confirmed", *emitted: Change, **fields: Any) -> Kept[Order]:
    state: Change = {
        "orderId": "o-1",
        "correlationId": "o-1",
        "status": status,
        "userId": "u-1",
        "items": ITEMS,
    }
    state |= {"totalAmount": PRICE, "currency": "USD", "createdAt": LONG_AGO, "deadline": LONG_AGO, **fields}
    return Kept(Order.model_validate(state), LONG_AGO, emitted)


def reservation(status: str = "allocated", *emitted: Change, **fields: Any) -> Kept[Reservation]:
    state: Change = {
        "orderId": "o-1",
        "correlationId": "o-1",
        "status": status,
        "items": ITEMS,
        "lines": LINES,
    }
    under = {"allocated": {"confirmationRecord": "e-1"}, "released": {"releaseRecord": "e-1"}}.get(status, {})
    return Kept(Reservation.model_validate({**state, **under, **fields}), LONG_AGO, emitted)


def payment(status: str = "charged", *emitted: Change, **fields: Any) -> Kept[Payment]:
    state: Change = {
        "orderId": "o-1",
        "correlationId": "o-1",
        "status": status,
        "amount": PRICE,
        "currency": "USD",
    }
    charged = {} if status in ("void", "declined", "charging") else {"chargeId": "ch-1"}
    back = PRICE if status == "refunded" else Decimal(0)
    state |= {"idempotencyKey": "order-o-1", "refundedAmount": back, **charged, **fields}
    return Kept(Payment.model_validate(state), LONG_AGO, emitted)


CREATED = told("OrderCreated")
FAILED = told("OrderFailed", status="failed")
CANCELLED = told("OrderFailed", status="cancelled")

CONFIRMED = Case(
    "o-1",
    order("confirmed", CREATED),
    reservation("allocated", told("InventoryConfirmed")),
    payment("charged", told("PaymentCompleted")),
)
RELEASED = Case("o-1", order("cancelled", CANCELLED), reservation("released"), payment("refunded"))
REJECTED = Case("o-1", order("failed", FAILED), reservation("rejected", lines=()))
RESTING = Case("o-1", order("refundPending"), reservation("released"), payment("refundFailed"))
LATE_APPROVAL = Case("o-1", order("failed", FAILED), reservation("released"), payment("refundFailed"))
DIRECT = Case("o-1", None, reservation(saga=False, confirmationRecord=None), payment(saga=False))
REFUSED_SINCE_ALLOCATED_DIRECTLY = Case(
    "o-1", order("failed", FAILED), reservation("allocated", confirmationRecord=None)
)
VOID = Case("o-1", order("cancelled", CANCELLED), reservation("released", lines=()), payment("void"))

SOUND = {
    "confirmed": CONFIRMED,
    "released": RELEASED,
    "rejected": REJECTED,
    "resting": RESTING,
    "late approval": LATE_APPROVAL,
    "by hand": DIRECT,
    "allocated by hand": REFUSED_SINCE_ALLOCATED_DIRECTLY,
    "void": VOID,
}

BROKEN: list[tuple[str, str, Case]] = [
    ("order ends", "still paid", replace(CONFIRMED, order=order("paid"))),
    ("order ends", "awaiting release", Case("o-1", order("compensating", release="awaited"))),
    ("one last event", "last events are []", replace(CONFIRMED, order=order("confirmed"))),
    (
        "one last event",
        "'OrderCreated', 'OrderFailed'",
        replace(CONFIRMED, order=order("confirmed", CREATED, FAILED)),
    ),
    ("one last event", "'OrderFailed'", replace(CONFIRMED, order=order("confirmed", FAILED))),
    ("one last event", "'OrderCreated'", replace(RELEASED, order=order("cancelled", CREATED))),
    ("one last event", "says failed", replace(RELEASED, order=order("cancelled", FAILED))),
    ("one last event", "'OrderFailed'", replace(RESTING, order=order("refundPending", FAILED))),
    (
        "one body an id",
        "different events",
        replace(
            CONFIRMED, payment=payment("charged", told("PaymentCompleted"), {**CREATED, "userId": "u-2"})
        ),
    ),
    (
        "one body an id",
        "speaks of the order o-2",
        replace(CONFIRMED, payment=payment("charged", {**told("PaymentCompleted"), "orderId": "o-2"})),
    ),
    ("stock goes with the order", "still holds", replace(RELEASED, reservation=reservation("held"))),
    ("stock goes with the order", "is held", replace(CONFIRMED, reservation=reservation("held"))),
    ("stock goes with the order", "still holds", replace(RESTING, reservation=reservation("held"))),
    ("stock goes with the order", "is allocated", replace(RELEASED, reservation=reservation("allocated"))),
    ("stock goes with the order", "is allocated", replace(RESTING, reservation=reservation("allocated"))),
    ("stock goes with the order", "is nothing", replace(CONFIRMED, reservation=None)),
    ("stock goes with the order", "is released", replace(CONFIRMED, reservation=reservation("released"))),
    ("stock goes with the order", "is nothing", replace(CONFIRMED, reservation=reservation(saga=False))),
    (
        "stock goes with the order",
        "{'tea': 2} instead of {'tea': 3}",
        replace(CONFIRMED, order=order("confirmed", CREATED, items=(Item(product_id="tea", quantity=3),))),
    ),
    ("money goes with the order", "0.00 were kept", replace(CONFIRMED, payment=None)),
    ("money goes with the order", "0.00 were kept", replace(CONFIRMED, payment=payment("refunded"))),
    ("money goes with the order", "0.00 were kept", replace(CONFIRMED, payment=payment(saga=False))),
    ("money goes with the order", "24.00 were kept", replace(CONFIRMED, payment=payment(amount="24.00"))),
    ("money goes with the order", "charged in EUR", replace(CONFIRMED, payment=payment(currency="EUR"))),
    ("money goes with the order", "25.00 were kept", replace(RELEASED, payment=payment("charged"))),
    ("money goes with the order", "25.00 were kept", replace(REJECTED, payment=payment("charged"))),
    ("money goes with the order", "is charged", replace(RESTING, payment=payment("charged"))),
    ("money goes with the order", "is missing", replace(RESTING, payment=None)),
    (
        "one charge",
        "charged 2 times",
        replace(CONFIRMED, payment=payment("charged", told("PaymentCompleted"), told("PaymentCompleted", 2))),
    ),
    (
        "one charge",
        "refunded 2 times",
        replace(
            RELEASED,
            payment=payment(
                "refunded",
                told("PaymentRefunded", refundId="re-1"),
                told("PaymentRefunded", 2, refundId="re-2"),
            ),
        ),
    ),
    (
        "one charge",
        "more than was charged",
        replace(RELEASED, payment=payment("refunded", refundedAmount="26")),
    ),
    ("payment finishes", "still refunding", replace(RELEASED, payment=payment("refunding"))),
    ("payment finishes", "is refunded", replace(RESTING, payment=payment("refunded"))),
    (
        "hold ends",
        "nobody has given it back",
        Case("o-1", None, reservation("held", saga=False, expiresAt=LONG_AGO)),
    ),
    ("belongs to an order", "is a reservation (released)", replace(RELEASED, order=None, payment=None)),
    ("belongs to an order", "is a reservation (held)", Case("o-1", None, reservation("held"))),
    ("belongs to an order", "is a payment (void)", replace(VOID, order=None, reservation=None)),
    (
        "nothing unpublished",
        "events of its order",
        replace(CONFIRMED, order=replace(order("confirmed", CREATED), waiting_since=LONG_AGO)),
    ),
]


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND.keys())
@pytest.mark.parametrize("when", [AT_REST, RUNNING], ids=["at rest", "running"])
def test_what_is_sound_is_not_accused(case: Case, when: When) -> None:
    assert settled(case, when)
    assert findings(case, when) == []


@pytest.mark.parametrize(("rule", "text", "case"), BROKEN)
@pytest.mark.parametrize("when", [AT_REST, RUNNING], ids=["at rest", "running"])
def test_what_breaks_a_promise_is_named(rule: str, text: str, case: Case, when: When) -> None:
    found = [one for one in findings(case, when) if one.rule == rule]
    assert [one.about for one in found] == ["o-1"]
    assert text in found[0].text


def test_every_rule_is_broken_above() -> None:
    assert {rule for rule, _, _ in BROKEN} == RULES.keys()


def fresh(moment: datetime) -> dict[str, Case]:
    """Return cases that are unfinished, but only since a moment."""
    return {
        "order ends": Case("o-1", replace(order("reserved", deadline=moment), updated_at=moment)),
        "payment finishes": replace(RELEASED, payment=payment("refunding", nextAttemptAt=moment)),
        "belongs to an order": Case("o-1", None, replace(reservation("held"), updated_at=moment)),
        "nothing unpublished": replace(
            CONFIRMED, order=replace(order("confirmed", CREATED), waiting_since=moment)
        ),
    }


@pytest.mark.parametrize("rule", fresh(NOW))
def test_while_the_system_runs_the_unfinished_has_time(rule: str) -> None:
    recent, overdue = NOW - timedelta(minutes=1), NOW - OVERDUE - timedelta(seconds=1)
    assert findings(fresh(recent)[rule], RUNNING) == []
    assert [one.rule for one in findings(fresh(overdue)[rule], RUNNING)] == [rule]
    assert [one.rule for one in findings(fresh(recent)[rule], AT_REST)] == [rule]


@pytest.mark.parametrize(
    "rejected_or_expired",
    [
        reservation("rejected"),
        reservation("expired"),
        reservation("released", releaseRecord=None),
        reservation("allocated", confirmationRecord=None),
    ],
    ids=["refused", "expired", "given back by hand before", "allocated by hand before"],
)
@pytest.mark.parametrize("when", [AT_REST, RUNNING], ids=["at rest", "running"])
def test_what_was_turned_away_and_is_unknown_to_the_orders_is_told_apart(
    rejected_or_expired: Kept[Reservation], when: When
) -> None:
    case = Case("o-1", None, rejected_or_expired)
    assert (forgotten(case), findings(case, when)) == (True, [])
    assert not forgotten(replace(case, order=order("failed", FAILED)))
    assert not forgotten(replace(case, payment=payment("void")))
    direct = rejected_or_expired.state.model_copy(update={"saga": False})
    assert not forgotten(replace(case, reservation=replace(rejected_or_expired, state=direct)))


@pytest.mark.parametrize(
    ("awaited", "status"), [("refund", "refunding"), ("payment", "charging")], ids=["refund", "charge"]
)
def test_an_order_may_wait_for_the_provider_as_long_as_the_provider_is_asked(
    awaited: str, status: str
) -> None:
    soon, overdue = NOW + timedelta(minutes=1), NOW - OVERDUE - timedelta(seconds=1)
    undone = order("compensating", **{awaited: "awaited"})
    waiting = Case("o-1", undone, reservation("released"), payment(status, nextAttemptAt=soon))
    assert findings(waiting, RUNNING) == []
    given_up = replace(waiting, payment=payment(status, nextAttemptAt=overdue))
    assert [one.rule for one in findings(given_up, RUNNING)] == ["payment finishes"]
    assert [one.rule for one in findings(waiting, AT_REST)] == ["payment finishes"]
    nothing_under_way = replace(waiting, payment=payment("refunded"))
    assert [one.rule for one in findings(nothing_under_way, RUNNING)] == ["order ends"]
    other_things = order("compensating", **{awaited: "awaited", "release": "awaited"})
    assert "order ends" in {one.rule for one in findings(replace(waiting, order=other_things), RUNNING)}


def test_what_has_changed_lately_is_not_judged_while_the_system_runs() -> None:
    for name in ("order", "reservation", "payment"):
        part = replace(getattr(CONFIRMED, name), updated_at=NOW - timedelta(seconds=29))
        changed = replace(CONFIRMED, **{name: part})
        assert not settled(changed, RUNNING)
        assert settled(changed, When(NOW, timedelta(seconds=28)))
        assert settled(changed, AT_REST)


def test_only_a_refused_refund_rests() -> None:
    assert [name for name, case in SOUND.items() if resting(case)] == ["resting", "late approval"]


class TestMoney:
    def book(self, *cases: Case, when: When = AT_REST) -> MoneyBook:
        book = MoneyBook()
        for case in cases:
            book.add(case, when)
        return book

    @pytest.mark.parametrize("case", SOUND.values(), ids=SOUND.keys())
    def test_the_books_of_what_is_sound_balance(self, case: Case) -> None:
        assert list(self.book(case, *SOUND.values()).findings()) == []

    def test_each_part_is_counted_where_it_belongs(self) -> None:
        paid = replace(CONFIRMED, order=order("paid"))
        dollars = self.book(*SOUND.values(), paid).by_currency["USD"]
        assert dollars.confirmed == dollars.in_progress == dollars.direct == PRICE
        assert dollars.charged == 5 * PRICE
        assert dollars.refunded == PRICE
        assert dollars.resting == 2 * PRICE

    @pytest.mark.parametrize(
        "case",
        [
            replace(CONFIRMED, payment=None),
            replace(RELEASED, payment=payment("charged")),
            Case("o-1", payment=payment("charged")),
            replace(CONFIRMED, payment=payment(currency="EUR")),
        ],
    )
    def test_money_for_nothing_and_things_for_no_money_are_found(self, case: Case) -> None:
        found = list(self.book(case, *SOUND.values()).findings())
        assert {one.rule for one in found} == {"money adds up"}
        assert "USD" in {one.about for one in found}

    def test_a_payment_whose_order_may_still_come_is_under_way(self) -> None:
        early = Case("o-1", payment=replace(payment("charged"), updated_at=NOW - timedelta(minutes=1)))
        assert list(self.book(early, when=RUNNING).findings()) == []
        assert list(self.book(early, when=AT_REST).findings()) != []


class TestStock:
    place = ("berlin", "tea")

    def book(self, *states: Reservation) -> StockBook:
        book = StockBook()
        for state in states:
            book.add(state)
        return book

    def test_reservations_are_added_up(self) -> None:
        states = [
            reservation(status).state for status in ("held", "allocated", "allocated", "released", "expired")
        ]
        book = self.book(*states, reservation("held", saga=False).state)
        assert list(book.findings({self.place: StockLevel(5, 4, 4, 13, 1)}, [self.place])) == []
        assert book.direct == {self.place: 2}

    @pytest.mark.parametrize(
        ("shelf", "rule"),
        [
            (StockLevel(5, 1, 0, 6, 1), "stock adds up"),
            (StockLevel(5, 0, 1, 6, 1), "stock adds up"),
            (StockLevel(-1, 0, 2, 1, 1), "stock is not negative"),
            (StockLevel(5, 0, 2, 8, 1), "stock is conserved"),
            (StockLevel(5, 0, 2, 6, 1), "stock is conserved"),
            (None, "stock adds up"),
        ],
    )
    def test_a_level_that_does_not_fit_is_named(self, shelf: StockLevel | None, rule: str) -> None:
        book = self.book(reservation().state)
        shelves = {} if shelf is None else {self.place: shelf}
        found = list(book.findings(shelves, book.places))
        assert [(one.rule, one.about) for one in found] == [(rule, "berlin/tea")]

    def test_a_level_that_has_a_new_version_has_moved(self) -> None:
        before = {("a", "tea"): StockLevel(1, 0, 0, 1, 1), ("b", "tea"): StockLevel(1, 0, 0, 1, 1)}
        after = {
            ("a", "tea"): StockLevel(1, 0, 0, 1, 3),
            ("b", "tea"): StockLevel(1, 0, 0, 1, 1),
            ("c", "tea"): StockLevel(1, 0, 0, 1, 1),
        }
        assert moved(before, after) == {("a", "tea"), ("c", "tea")}


def document() -> Change:
    """Return the order of CONFIRMED as it is stored."""
    assert CONFIRMED.order is not None
    return {
        "_id": "o-1",
        "version": 3,
        "updatedAt": NOW,
        "state": CONFIRMED.order.state.model_dump(by_alias=True),
        "journal": {"e-1": {"name": "InventoryConfirmed", "at": NOW, "emitted": [CREATED]}},
        "outbox": [{"id": "e-2", "at": NOW}, {"id": "e-3", "at": LONG_AGO}],
    }


class TestReading:
    def test_a_document_is_read_with_its_journal_and_its_outbox(self) -> None:
        read = kept(document(), Order)
        assert CONFIRMED.order is not None
        assert read.state == CONFIRMED.order.state
        assert read.emitted == [CREATED]
        assert read.waiting_since == LONG_AGO

    @pytest.mark.parametrize(
        "damage",
        [
            lambda one: one.pop("state"),
            lambda one: one.pop("journal"),
            lambda one: one.pop("outbox"),
            lambda one: one.pop("updatedAt"),
            lambda one: one["state"].update(status="lost"),
            lambda one: one["state"].update(totalAmount=25.0),
            lambda one: one["state"].update(orderId="o-2"),
            lambda one: one["journal"]["e-1"].update(emitted=[{"type": "OrderCreated"}]),
            lambda one: one.update(journal=[]),
            lambda one: one.update(journal=None),
            lambda one: one.update(outbox=[{"id": "e-2", "at": NOW}, {"id": "e-3", "at": "yesterday"}]),
        ],
    )
    def test_a_document_that_is_not_as_it_should_be_is_unreadable(
        self, damage: Callable[[Change], Any]
    ) -> None:
        damaged = document()
        damage(damaged)
        with pytest.raises(Unreadable, match="order: "):
            kept(damaged, Order)

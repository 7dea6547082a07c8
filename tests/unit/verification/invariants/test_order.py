"""Each promise about an order is broken once in what the services store, and must be reported."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from events.values import Item
from inventory_service.reservation import Reservation
from tests.support.builders import NOW
from tests.support.cases import (
    AT_REST,
    CONFIRMED,
    CREATED,
    FAILED,
    LONG_AGO,
    REJECTED,
    RELEASED,
    RUNNING,
    SOUND,
    UNREFUNDED,
    VOID,
    event,
    order,
    payment,
    reservation,
)
from verification.invariants.case import Case, Snapshot
from verification.invariants.names import OVERDUE, Invariant, Timing
from verification.invariants.order import (
    CHECKS,
    awaiting_manual_refund,
    findings,
    orphaned_request,
    settled,
)

BROKEN: list[tuple[Invariant, str, Case]] = [
    (Invariant.ORDER_ENDS, "still paid", replace(CONFIRMED, order=order("paid"))),
    (Invariant.ORDER_ENDS, "awaiting release", Case("o-1", order("compensating", release="awaited"))),
    (Invariant.ONE_LAST_EVENT, "last events are []", replace(CONFIRMED, order=order("confirmed"))),
    (
        Invariant.ONE_LAST_EVENT,
        "'OrderCreated', 'OrderFailed'",
        replace(CONFIRMED, order=order("confirmed", CREATED, FAILED)),
    ),
    (Invariant.ONE_LAST_EVENT, "'OrderFailed'", replace(CONFIRMED, order=order("confirmed", FAILED))),
    (Invariant.ONE_LAST_EVENT, "'OrderCreated'", replace(RELEASED, order=order("cancelled", CREATED))),
    (Invariant.ONE_LAST_EVENT, "says failed", replace(RELEASED, order=order("cancelled", FAILED))),
    (
        Invariant.ONE_LAST_EVENT,
        "'OrderFailed'",
        replace(UNREFUNDED, order=order("refundPending", FAILED)),
    ),
    (
        Invariant.ONE_BODY_PER_ID,
        "different events",
        replace(
            CONFIRMED, payment=payment("charged", event("PaymentCompleted"), {**CREATED, "userId": "u-2"})
        ),
    ),
    (
        Invariant.ONE_BODY_PER_ID,
        "of the order o-2",
        replace(CONFIRMED, payment=payment("charged", {**event("PaymentCompleted"), "orderId": "o-2"})),
    ),
    (Invariant.STOCK_MATCHES_ORDER, "still holds", replace(RELEASED, reservation=reservation("held"))),
    (Invariant.STOCK_MATCHES_ORDER, "is held", replace(CONFIRMED, reservation=reservation("held"))),
    (
        Invariant.STOCK_MATCHES_ORDER,
        "still holds",
        replace(UNREFUNDED, reservation=reservation("held")),
    ),
    (Invariant.STOCK_MATCHES_ORDER, "is allocated", replace(RELEASED, reservation=reservation("allocated"))),
    (
        Invariant.STOCK_MATCHES_ORDER,
        "is allocated",
        replace(UNREFUNDED, reservation=reservation("allocated")),
    ),
    (Invariant.STOCK_MATCHES_ORDER, "is nothing", replace(CONFIRMED, reservation=None)),
    (Invariant.STOCK_MATCHES_ORDER, "is released", replace(CONFIRMED, reservation=reservation("released"))),
    (Invariant.STOCK_MATCHES_ORDER, "is nothing", replace(CONFIRMED, reservation=reservation(saga=False))),
    (
        Invariant.STOCK_MATCHES_ORDER,
        "{'tea': 2} instead of {'tea': 3}",
        replace(CONFIRMED, order=order("confirmed", CREATED, items=(Item(product_id="tea", quantity=3),))),
    ),
    (Invariant.MONEY_MATCHES_ORDER, "0.00 were kept", replace(CONFIRMED, payment=None)),
    (Invariant.MONEY_MATCHES_ORDER, "0.00 were kept", replace(CONFIRMED, payment=payment("refunded"))),
    (Invariant.MONEY_MATCHES_ORDER, "0.00 were kept", replace(CONFIRMED, payment=payment(saga=False))),
    (Invariant.MONEY_MATCHES_ORDER, "24.00 were kept", replace(CONFIRMED, payment=payment(amount="24.00"))),
    (Invariant.MONEY_MATCHES_ORDER, "charged in EUR", replace(CONFIRMED, payment=payment(currency="EUR"))),
    (Invariant.MONEY_MATCHES_ORDER, "25.00 were kept", replace(RELEASED, payment=payment("charged"))),
    (Invariant.MONEY_MATCHES_ORDER, "25.00 were kept", replace(REJECTED, payment=payment("charged"))),
    (
        Invariant.MONEY_MATCHES_ORDER,
        "is charged",
        replace(UNREFUNDED, payment=payment("charged")),
    ),
    (Invariant.MONEY_MATCHES_ORDER, "is missing", replace(UNREFUNDED, payment=None)),
    (
        Invariant.ONE_CHARGE,
        "charged 2 times",
        replace(
            CONFIRMED, payment=payment("charged", event("PaymentCompleted"), event("PaymentCompleted", 2))
        ),
    ),
    (
        Invariant.ONE_CHARGE,
        "refunded 2 times",
        replace(
            RELEASED,
            payment=payment(
                "refunded",
                event("PaymentRefunded", refundId="re-1"),
                event("PaymentRefunded", 2, refundId="re-2"),
            ),
        ),
    ),
    (
        Invariant.ONE_CHARGE,
        "more than was charged",
        replace(RELEASED, payment=payment("refunded", refundedAmount="26")),
    ),
    (Invariant.PAYMENT_FINISHES, "still refunding", replace(RELEASED, payment=payment("refunding"))),
    (Invariant.PAYMENT_FINISHES, "is refunded", replace(UNREFUNDED, payment=payment("refunded"))),
    (
        Invariant.HOLD_ENDS,
        "was not released",
        Case("o-1", None, reservation("held", saga=False, expiresAt=LONG_AGO)),
    ),
    (Invariant.BELONGS_TO_ORDER, "is a reservation (released)", replace(RELEASED, order=None, payment=None)),
    (Invariant.BELONGS_TO_ORDER, "is a reservation (held)", Case("o-1", None, reservation("held"))),
    (Invariant.BELONGS_TO_ORDER, "is a payment (void)", replace(VOID, order=None, reservation=None)),
    (
        Invariant.EVENTS_ARE_PUBLISHED,
        "events of its order",
        replace(CONFIRMED, order=replace(order("confirmed", CREATED), unpublished_since=LONG_AGO)),
    ),
]


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND.keys())
@pytest.mark.parametrize("timing", [AT_REST, RUNNING], ids=["at rest", "running"])
def test_a_sound_case_has_no_findings(case: Case, timing: Timing) -> None:
    assert settled(case, timing)
    assert findings(case, timing) == []


@pytest.mark.parametrize(("invariant", "text", "case"), BROKEN)
@pytest.mark.parametrize("timing", [AT_REST, RUNNING], ids=["at rest", "running"])
def test_a_broken_invariant_is_found(invariant: Invariant, text: str, case: Case, timing: Timing) -> None:
    found = [one for one in findings(case, timing) if one.invariant == invariant]
    assert [one.subject for one in found] == ["o-1"]
    assert text in found[0].text


def test_every_invariant_has_a_case_that_only_it_finds() -> None:
    alone = {
        invariant
        for invariant, _, case in BROKEN
        if {one.invariant for one in findings(case, AT_REST)} == {invariant}
    }
    assert alone == CHECKS.keys()


def unfinished(since: datetime) -> dict[Invariant, Case]:
    """Return cases that are unfinished since a moment."""
    return {
        Invariant.ORDER_ENDS: Case("o-1", replace(order("reserved", deadline=since), updated_at=since)),
        Invariant.PAYMENT_FINISHES: replace(RELEASED, payment=payment("refunding", nextAttemptAt=since)),
        Invariant.BELONGS_TO_ORDER: Case("o-1", None, replace(reservation("held"), updated_at=since)),
        Invariant.EVENTS_ARE_PUBLISHED: replace(
            CONFIRMED, order=replace(order("confirmed", CREATED), unpublished_since=since)
        ),
    }


@pytest.mark.parametrize("invariant", unfinished(NOW))
def test_unfinished_counts_once_overdue_or_at_rest(invariant: Invariant) -> None:
    recent, overdue = NOW - timedelta(minutes=1), NOW - OVERDUE - timedelta(seconds=1)
    assert findings(unfinished(recent)[invariant], RUNNING) == []
    assert [one.invariant for one in findings(unfinished(overdue)[invariant], RUNNING)] == [invariant]
    assert [one.invariant for one in findings(unfinished(recent)[invariant], AT_REST)] == [invariant]


@pytest.mark.parametrize(
    "refused",
    [
        reservation("rejected"),
        reservation("expired"),
        reservation("released", releaseRecord=None),
        reservation("allocated", confirmationRecord=None),
    ],
    ids=["refused", "expired", "released directly before", "allocated directly before"],
)
@pytest.mark.parametrize("timing", [AT_REST, RUNNING], ids=["at rest", "running"])
def test_a_refused_request_of_no_order_is_orphaned(refused: Snapshot[Reservation], timing: Timing) -> None:
    case = Case("o-1", None, refused)
    assert (orphaned_request(case), findings(case, timing)) == (True, [])
    assert not orphaned_request(replace(case, order=order("failed", FAILED)))
    assert not orphaned_request(replace(case, payment=payment("void")))
    direct = refused.state.model_copy(update={"saga": False})
    assert not orphaned_request(replace(case, reservation=replace(refused, state=direct)))


@pytest.mark.parametrize(
    ("awaited", "status"), [("refund", "refunding"), ("payment", "charging")], ids=["refund", "charge"]
)
def test_an_order_may_wait_while_the_provider_is_asked(awaited: str, status: str) -> None:
    soon, overdue = NOW + timedelta(minutes=1), NOW - OVERDUE - timedelta(seconds=1)
    undone = order("compensating", **{awaited: "awaited"})
    waiting = Case("o-1", undone, reservation("released"), payment(status, nextAttemptAt=soon))
    assert findings(waiting, RUNNING) == []
    overdue_payment = replace(waiting, payment=payment(status, nextAttemptAt=overdue))
    assert [one.invariant for one in findings(overdue_payment, RUNNING)] == [Invariant.PAYMENT_FINISHES]
    assert [one.invariant for one in findings(waiting, AT_REST)] == [Invariant.PAYMENT_FINISHES]
    nothing_under_way = replace(waiting, payment=payment("refunded"))
    assert [one.invariant for one in findings(nothing_under_way, RUNNING)] == [Invariant.ORDER_ENDS]
    other_things = order("compensating", **{awaited: "awaited", "release": "awaited"})
    assert Invariant.ORDER_ENDS in {
        one.invariant for one in findings(replace(waiting, order=other_things), RUNNING)
    }


def test_a_recently_changed_case_is_not_settled() -> None:
    for name in ("order", "reservation", "payment"):
        part = replace(getattr(CONFIRMED, name), updated_at=NOW - timedelta(seconds=29))
        changed = replace(CONFIRMED, **{name: part})
        assert not settled(changed, RUNNING)
        assert settled(changed, Timing(NOW, timedelta(seconds=28)))
        assert settled(changed, AT_REST)


def test_only_a_refused_refund_awaits_a_person() -> None:
    assert [name for name, case in SOUND.items() if awaiting_manual_refund(case)] == [
        "awaiting manual refund",
        "late approval",
    ]

"""What must hold for one order, as pure functions of what the services have stored about it.

Each check describes what it finds in a sentence about the order. A contradiction within what one service
writes at once is wrong at any moment (`ALWAYS`). The rest is wrong once nothing about the order has changed
for a while. What is only unfinished may be waiting for a part that is down: it is wrong once it is overdue,
or at once where everything should have come to rest.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal

from events.types import format_money
from inventory_service.reservation import Reservation
from order_service.order import Order
from payment_service.payment import Payment
from verification.invariants.case import Case, Json
from verification.invariants.names import OVERDUE, Finding, Invariant, Timing

LAST_EVENTS = {"confirmed": "OrderCreated", "failed": "OrderFailed", "cancelled": "OrderFailed"}
"""The last event of an order, by its status."""

Check = Callable[[Case, Timing], Iterator[str]]


def settled(case: Case, timing: Timing) -> bool:
    """Return whether nothing about this order has changed for a while.

    What each service stores was then the same during that whole while, so it does not matter that the three
    were read one after the other.
    """
    return timing.at_rest or all(part.updated_at <= timing.now - timing.settled_for for part in case.parts)


def findings(case: Case, timing: Timing, checks: Mapping[Invariant, Check] | None = None) -> list[Finding]:
    """Return every invariant that a settled case breaks, of all checks or of these."""
    return [
        Finding(invariant, case.order_id, text)
        for invariant, check in (CHECKS if checks is None else checks).items()
        for text in check(case, timing)
    ]


def lost_orders(missing: Iterable[str]) -> Iterator[Finding]:
    """Return a finding for each order that a client was promised and that the order service does not know."""
    for order_id in sorted(missing):
        yield Finding(Invariant.NO_ORDER_IS_LOST, order_id, "was accepted, and is unknown")


def awaiting_manual_refund(case: Case) -> Payment | None:
    """Return the payment whose refund the provider has refused, so that a person has to settle it."""
    payment = case.money
    confirmed = case.order is not None and case.order.state.status == "confirmed"
    return payment if payment and payment.status == "refundFailed" and not confirmed else None


def orphaned_request(case: Case) -> bool:
    """Return whether this is a request that was rejected or expired, and whose order is unknown.

    It holds no stock. The order service never saw it if the broker lost all messages at that moment; its
    publisher has to publish it again.
    """
    if case.order or case.payment or case.reservation is None:
        return False
    return case.reservation.state.rejected_or_expired


def kept(payment: Payment | None) -> Decimal:
    """Return what was charged and not refunded."""
    if payment is None or payment.charge_id is None:
        return Decimal(0)
    return payment.amount - payment.refunded_amount


def last_events(events: Iterable[Json]) -> list[Json]:
    """Return the events among these that end an order."""
    return [event for event in events if event["type"] in LAST_EVENTS.values()]


def _order_ends(case: Case, timing: Timing) -> Iterator[str]:
    if case.order is None:
        return
    order = case.order.state
    if order.terminal or order.status == "refundPending" or _awaits_provider(order, case.money):
        return
    if timing.overdue(order.deadline):
        yield f"is still {order.status}, awaiting {', '.join(order.awaiting) or 'nothing'}"


def _awaits_provider(order: Order, payment: Payment | None) -> bool:
    """Return whether an order being compensated waits for the provider alone, which may take days.

    Whether the provider is asked again in time is the subject of `payment finishes`.
    """
    waits_for_money = order.status == "compensating" and {*order.awaiting} <= {"payment", "refund"}
    return waits_for_money and payment is not None and payment.in_progress


def _one_last_event(case: Case, timing: Timing) -> Iterator[str]:
    if case.order is None:
        return
    status = case.order.state.status
    last = last_events(case.order.emitted)
    types = [event["type"] for event in last]
    expected = [LAST_EVENTS[status]] if status in LAST_EVENTS else []
    if types != expected:
        yield f"is {status}, and its last events are {types} instead of {expected}"
    elif types == ["OrderFailed"] and last[0].get("status") != status:
        yield f"is {status}, and its OrderFailed says {last[0].get('status')}"


def _one_body_per_id(case: Case, timing: Timing) -> Iterator[str]:
    bodies: dict[str, Json] = {}
    for event in case.events:
        if bodies.setdefault(event["eventId"], event) != event:
            yield f"has two different events with the id {event['eventId']}"
        if event["orderId"] != case.order_id:
            yield f"has the {event['type']} {event['eventId']} of the order {event['orderId']}"


def _stock_matches_order(case: Case, timing: Timing) -> Iterator[str]:
    if case.order is None:
        return
    order, stock = case.order.state, case.stock
    status = stock.status if stock else "nothing"
    released = order.status in ("failed", "cancelled") or (
        order.status == "refundPending" and order.release != "awaited"
    )
    if released and status == "held":
        yield f"is {order.status}, and still holds stock"
    if order.status in ("failed", "cancelled", "refundPending") and status == "allocated":
        yield f"is {order.status}, and its stock is allocated"
    if order.status == "confirmed":
        if stock is None or status != "allocated":
            yield f"is confirmed without its stock: its reservation is {status}"
        elif _units_ordered(order) != _units_reserved(stock):
            yield f"is confirmed with {dict(_units_reserved(stock))} instead of {dict(_units_ordered(order))}"


def _money_matches_order(case: Case, timing: Timing) -> Iterator[str]:
    if case.order is None:
        return
    order, payment = case.order.state, case.money
    status = payment.status if payment else "missing"
    if order.status == "refundPending" and status not in ("refundFailed", "refunding", "refunded"):
        yield f"waits for its refund, and its payment is {status}"
    if not order.terminal or awaiting_manual_refund(case) or (payment and payment.in_progress):
        return
    expected = order.total_amount if order.status == "confirmed" else Decimal(0)
    if kept(payment) != expected:
        yield (
            f"is {order.status}, and {format_money(kept(payment))} were kept instead of "
            f"{format_money(expected)}: its payment is {status}"
        )
    elif payment and expected and payment.currency != order.currency:
        yield f"was to cost {order.currency}, and was charged in {payment.currency}"


def _one_charge(case: Case, timing: Timing) -> Iterator[str]:
    if case.payment is None:
        return
    payment, emitted = case.payment.state, case.payment.emitted
    charges = [event for event in emitted if event["type"] == "PaymentCompleted"]
    refunds = {event["refundId"] for event in emitted if event.get("refundId")}
    if len(charges) > 1:
        yield f"was charged {len(charges)} times"
    if len(refunds) > 1:
        yield f"was refunded {len(refunds)} times"
    if payment.refunded_amount > (payment.amount if payment.charge_id else 0):
        yield f"was refunded {format_money(payment.refunded_amount)}, more than was charged"


def _payment_finishes(case: Case, timing: Timing) -> Iterator[str]:
    if case.payment and case.payment.state.in_progress:
        payment = case.payment.state
        if timing.overdue(payment.next_attempt_at or case.payment.updated_at):
            yield f"has a payment that is still {payment.status}"
    if case.order and case.order.state.status == "refundPending" and case.money:
        status, since = case.money.status, (case.payment or case.order).updated_at
        if status == "refunded" and timing.overdue(since):
            yield "still waits for its refund, and its payment is refunded"


def _hold_ends(case: Case, timing: Timing) -> Iterator[str]:
    if case.reservation and (expiry := case.reservation.state.due_at) and expiry + OVERDUE < timing.now:
        yield f"has a hold that ran out at {expiry:%Y-%m-%d %H:%M:%S} UTC and was not released"


def _belongs_to_order(case: Case, timing: Timing) -> Iterator[str]:
    if case.order is not None or orphaned_request(case):
        return
    for part in (case.reservation, case.payment):
        if part and part.state.saga and timing.overdue(part.updated_at):
            yield f"is a {type(part.state).__name__.lower()} ({part.state.status}) of no order"


def _events_are_published(case: Case, timing: Timing) -> Iterator[str]:
    for part in case.parts:
        if part.unpublished_since and timing.overdue(part.unpublished_since):
            name = type(part.state).__name__.lower()
            yield f"has events of its {name} that are unpublished since {part.unpublished_since:%H:%M:%S} UTC"


ALWAYS: dict[Invariant, Check] = {
    Invariant.ONE_LAST_EVENT: _one_last_event,
    Invariant.ONE_BODY_PER_ID: _one_body_per_id,
    Invariant.ONE_CHARGE: _one_charge,
}
"""What holds at any moment, even while the order moves."""

CHECKS: dict[Invariant, Check] = {
    Invariant.ORDER_ENDS: _order_ends,
    **ALWAYS,
    Invariant.STOCK_MATCHES_ORDER: _stock_matches_order,
    Invariant.MONEY_MATCHES_ORDER: _money_matches_order,
    Invariant.PAYMENT_FINISHES: _payment_finishes,
    Invariant.HOLD_ENDS: _hold_ends,
    Invariant.BELONGS_TO_ORDER: _belongs_to_order,
    Invariant.EVENTS_ARE_PUBLISHED: _events_are_published,
}
"""What holds for each order that is settled."""


def _units_ordered(order: Order) -> Counter[str]:
    units: Counter[str] = Counter()
    for item in order.items:
        units[item.product_id] += item.quantity
    return units


def _units_reserved(reservation: Reservation) -> Counter[str]:
    units: Counter[str] = Counter()
    for line in reservation.lines:
        units[line.product_id] += line.quantity
    return units

"""What must hold for one order, as pure functions of what the services keep of it.

Each rule names what it finds in a sentence. What contradicts itself is wrong as soon as nothing about the
order has changed for a while. What is only unfinished may be waiting for a part that is down: it is wrong
once it is overdue, or at once where everything should have come to rest.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from events.types import format_money
from inventory_service.reservation import Reservation
from order_service.order import Order
from payment_service.payment import Payment
from verification.invariants.case import Case, Json

ENDS = {"confirmed": "OrderCreated", "failed": "OrderFailed", "cancelled": "OrderFailed"}
"""The last event of an order, by its status."""

OVERDUE = timedelta(minutes=5)
"""How long something may stay unfinished beyond its time while the system runs."""


@dataclass(frozen=True, slots=True)
class When:
    """When the case is judged, and whether everything should have come to rest by then.

    `settled_for` is how long nothing may have changed before a case is judged at all.
    """

    now: datetime
    settled_for: timedelta = timedelta(seconds=30)
    at_rest: bool = False

    def overdue(self, moment: datetime) -> bool:
        """Return whether what was due then is too late."""
        return self.at_rest or moment + OVERDUE < self.now


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise: which, about what (an order, a place, a currency), and how."""

    rule: str
    about: str
    text: str


Rule = Callable[[Case, When], Iterator[str]]


def settled(case: Case, when: When) -> bool:
    """Return whether nothing about this order has changed for a while.

    What each service keeps was then the same during all of that while, so it does not matter that the
    three were read one after the other.
    """
    return when.at_rest or all(part.updated_at <= when.now - when.settled_for for part in case.parts)


def findings(case: Case, when: When) -> list[Finding]:
    """Return every rule that a settled case breaks."""
    return [Finding(name, case.key, text) for name, rule in RULES.items() for text in rule(case, when)]


def resting(case: Case) -> Payment | None:
    """Return the payment whose refund the provider has refused, and a person has to settle."""
    payment = case.money
    confirmed = case.order is not None and case.order.state.status == "confirmed"
    return payment if payment and payment.status == "refundFailed" and not confirmed else None


def forgotten(case: Case) -> bool:
    """Return whether this is a request that was refused or ran out, and that no order is known for.

    It holds nothing. The order service heard of it from nobody if the broker lost everything at that moment,
    and whoever published the request asks again.
    """
    if case.order or case.payment or case.reservation is None:
        return False
    return case.reservation.state.rejected_or_expired


def taken(payment: Payment | None) -> Decimal:
    """Return what was charged and not paid back."""
    if payment is None or payment.charge_id is None:
        return Decimal(0)
    return payment.amount - payment.refunded_amount


def _order_ends(case: Case, when: When) -> Iterator[str]:
    if case.order is None:
        return
    order = case.order.state
    if order.terminal or order.status == "refundPending" or _provider_is_asked(order, case.money):
        return
    if when.overdue(order.deadline):
        yield f"is still {order.status}, awaiting {', '.join(order.awaiting) or 'nothing'}"


def _provider_is_asked(order: Order, payment: Payment | None) -> bool:
    """Return whether an order that is undone waits for the provider alone, which may take days.

    That it is asked again and again is watched by the payment's own rule.
    """
    waits_for_money = order.status == "compensating" and {*order.awaiting} <= {"payment", "refund"}
    return waits_for_money and payment is not None and payment.in_progress


def _one_last_event(case: Case, when: When) -> Iterator[str]:
    if case.order is None:
        return
    status = case.order.state.status
    last = [event for event in case.order.emitted if event["type"] in ENDS.values()]
    kinds = [event["type"] for event in last]
    expected = [ENDS[status]] if status in ENDS else []
    if kinds != expected:
        yield f"is {status}, and its last events are {kinds} instead of {expected}"
    elif kinds == ["OrderFailed"] and last[0].get("status") != status:
        yield f"is {status}, and its OrderFailed says {last[0].get('status')}"


def _one_body_an_id(case: Case, when: When) -> Iterator[str]:
    bodies: dict[str, Json] = {}
    for event in case.events:
        if bodies.setdefault(event["eventId"], event) != event:
            yield f"two different events have the id {event['eventId']}"
        if event["orderId"] != case.key:
            yield f"its {event['type']} {event['eventId']} speaks of the order {event['orderId']}"


def _stock_goes_with_the_order(case: Case, when: When) -> Iterator[str]:
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
        elif units_ordered(order) != units_held(stock):
            yield f"is confirmed with {dict(units_held(stock))} instead of {dict(units_ordered(order))}"


def _money_goes_with_the_order(case: Case, when: When) -> Iterator[str]:
    if case.order is None:
        return
    order, payment = case.order.state, case.money
    status = payment.status if payment else "missing"
    if order.status == "refundPending" and status not in ("refundFailed", "refunding", "refunded"):
        yield f"rests until it is refunded, and its payment is {status}"
    if not order.terminal or resting(case) or (payment and payment.in_progress):
        return
    expected = order.total_amount if order.status == "confirmed" else Decimal(0)
    if taken(payment) != expected:
        yield (
            f"is {order.status}, and {format_money(taken(payment))} were kept instead of "
            f"{format_money(expected)}: its payment is {status}"
        )
    elif payment and expected and payment.currency != order.currency:
        yield f"was to cost {order.currency}, and was charged in {payment.currency}"


def _one_charge(case: Case, when: When) -> Iterator[str]:
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


def _payment_finishes(case: Case, when: When) -> Iterator[str]:
    if case.payment and case.payment.state.in_progress:
        payment = case.payment.state
        if when.overdue(payment.next_attempt_at or case.payment.updated_at):
            yield f"has a payment that is still {payment.status}"
    if case.order and case.order.state.status == "refundPending" and case.money:
        status, since = case.money.status, (case.payment or case.order).updated_at
        if status == "refunded" and when.overdue(since):
            yield "rests until it is refunded, and its payment is refunded"


def _hold_ends(case: Case, when: When) -> Iterator[str]:
    if case.reservation and (expiry := case.reservation.state.due_at) and expiry + OVERDUE < when.now:
        yield f"has a hold that ran out at {expiry:%Y-%m-%d %H:%M:%S} UTC, and nobody has given it back"


def _belongs_to_an_order(case: Case, when: When) -> Iterator[str]:
    if case.order is not None or forgotten(case):
        return
    for part in (case.reservation, case.payment):
        if part and part.state.saga and when.overdue(part.updated_at):
            yield f"is a {type(part.state).__name__.lower()} ({part.state.status}) of no order"


def _nothing_unpublished(case: Case, when: When) -> Iterator[str]:
    for part in case.parts:
        if part.waiting_since and when.overdue(part.waiting_since):
            name = type(part.state).__name__.lower()
            yield f"has events of its {name} that are unpublished since {part.waiting_since:%H:%M:%S} UTC"


RULES: dict[str, Rule] = {
    "order ends": _order_ends,
    "one last event": _one_last_event,
    "one body an id": _one_body_an_id,
    "stock goes with the order": _stock_goes_with_the_order,
    "money goes with the order": _money_goes_with_the_order,
    "one charge": _one_charge,
    "payment finishes": _payment_finishes,
    "hold ends": _hold_ends,
    "belongs to an order": _belongs_to_an_order,
    "nothing unpublished": _nothing_unpublished,
}
"""What must hold for each order, by the name that the findings carry."""


def units_ordered(order: Order) -> Counter[str]:
    """Return the units of each product that were ordered."""
    units: Counter[str] = Counter()
    for item in order.items:
        units[item.product_id] += item.quantity
    return units


def units_held(reservation: Reservation) -> Counter[str]:
    """Return the units of each product that the reservation has."""
    units: Counter[str] = Counter()
    for line in reservation.lines:
        units[line.product_id] += line.quantity
    return units

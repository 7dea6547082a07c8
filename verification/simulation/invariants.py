"""What must hold when everything is quiet again."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import TypeVar

from events.catalogue import INVENTORY, ORDER, PAYMENT
from inventory_service.reservation import Reservation
from inventory_service.stock import StockKey
from operations.registry import TOPOLOGIES
from order_service.order import Order
from payment_service.payment import Payment
from saga.reactions.aggregate import Aggregate
from verification.simulation.services import Environment
from verification.simulation.store import Table

M = TypeVar("M", bound=Aggregate)

ENDS = {"confirmed": "OrderCreated", "failed": "OrderFailed", "cancelled": "OrderFailed"}
TWICE = {"kill", "cut", "confirm lost", "duplicate", "drain", "killer", "wipe"}
"""Faults after which a copy may be published again, and so be there twice."""


def violations(outside: Environment, promised: Collection[str]) -> list[str]:
    """Return everything that is not as it must be."""
    orders = _states(outside.tables[ORDER], Order)
    reservations = _states(outside.tables[INVENTORY], Reservation)
    payments = _states(outside.tables[PAYMENT], Payment)
    return [
        *outside.crashes,
        *_every_order_ends(orders, promised),
        *_one_last_event(outside, orders),
        *_one_body_an_id(outside),
        *_stock_adds_up(outside, reservations),
        *_stock_goes_with_orders(outside, orders, reservations),
        *_money_adds_up(outside, orders, payments),
        *_nothing_is_put_away(outside),
    ]


def _states(table: Table, model: type[M]) -> dict[str, M]:
    return {key: row.state for key, row in table.items()}


def _every_order_ends(orders: Mapping[str, Order], promised: Collection[str]) -> Iterator[str]:
    for order_id in sorted(set(promised) - orders.keys()):
        yield f"{order_id} was promised, and the order service knows nothing of it"
    for order in orders.values():
        if not order.terminal and order.status != "refundPending":
            yield f"{order.order_id} is {order.status} for ever, awaiting {order.awaiting}"


def _one_last_event(outside: Environment, orders: Mapping[str, Order]) -> Iterator[str]:
    last: dict[str, set[tuple[str | None, str | None]]] = defaultdict(set)
    for message in outside.broker.published:
        if message.type in ENDS.values():
            order_id = message.body.partition(b'"orderId":"')[2].partition(b'"')[0].decode()
            last[order_id].add((message.type, message.message_id))
    for order_id, order in orders.items():
        kinds = [kind for kind, _ in last[order_id]]
        expected = [ENDS[order.status]] if order.terminal else []
        lost = not kinds and "wipe" in outside.adversary.struck
        # What was saved, but not published before the broker lost its cause, is never published.
        if kinds != expected and not lost:
            yield f"{order_id} is {order.status}, but its last events are {kinds}"
    for order_id in last.keys() - orders.keys():
        yield f"{order_id} has a last event, and the order service knows nothing of it"


def _one_body_an_id(outside: Environment) -> Iterator[str]:
    bodies: dict[str, bytes] = {}
    for message in outside.broker.published:
        if message.message_id and bodies.setdefault(message.message_id, message.body) != message.body:
            yield f"two events with the id {message.message_id}: {message.body!r}"


def _stock_adds_up(outside: Environment, reservations: Mapping[str, Reservation]) -> Iterator[str]:
    held: Counter[StockKey] = Counter()
    sold: Counter[StockKey] = Counter()
    for reservation in reservations.values():
        for line in reservation.lines:
            place = (line.warehouse_id, line.product_id)
            if reservation.status == "held":
                held[place] += line.quantity
            elif reservation.status == "allocated":
                sold[place] += line.quantity
    for place, level in outside.shelves.levels.items():
        parts = (level.available, level.reserved, level.allocated)
        if min(parts) < 0 or sum(parts) != level.owned:
            yield f"stock at {place} is {parts}, of {level.owned} in all"
        if (level.reserved, level.allocated) != (held[place], sold[place]):
            yield f"stock at {place} is {parts}, but {held[place]} are held and {sold[place]} are sold"


def _stock_goes_with_orders(
    outside: Environment, orders: Mapping[str, Order], reservations: Mapping[str, Reservation]
) -> Iterator[str]:
    for key, order in orders.items():
        reservation = reservations.get(key)
        status = reservation.status if reservation else None
        if order.terminal and status == "held" and reservation and reservation.saga:
            yield f"{key} is {order.status} and still holds stock"
        if order.status == "confirmed" and (reservation is None or status != "allocated"):
            yield f"{key} is confirmed without its stock, which is {status}"
        if order.status == "confirmed" and reservation and _units(order) != _lines(reservation):
            yield f"{key} is confirmed with {_lines(reservation)} in place of {_units(order)}"
        if (
            order.status != "confirmed"
            and reservation
            and status == "allocated"
            and reservation.confirmation_record
        ):
            yield f"{key} is {order.status}, and its stock is allocated"
    wiped = "wipe" in outside.adversary.struck
    for key in sorted(reservations.keys() - orders.keys()):
        # A refusal that the broker has lost before anybody else has heard of the order changes nothing.
        if reservations[key].saga and not (wiped and reservations[key].rejected_or_expired):
            yield f"the reservation {key} belongs to no order"


def _units(order: Order) -> Counter[str]:
    units: Counter[str] = Counter()
    for item in order.items:
        units[item.product_id] += item.quantity
    return units


def _lines(reservation: Reservation) -> Counter[str]:
    units: Counter[str] = Counter()
    for line in reservation.lines:
        units[line.product_id] += line.quantity
    return units


def _money_adds_up(
    outside: Environment, orders: Mapping[str, Order], payments: Mapping[str, Payment]
) -> Iterator[str]:
    ledger = outside.ledger
    yield from ledger.broken
    known = {f"order-{key}" for key in orders.keys() | outside.paid_directly}
    for key in sorted(ledger.charges.keys() - known):
        yield f"the provider was asked for a charge {key} of no order"
    for key in sorted(orders.keys() | payments.keys()):
        order, payment = orders.get(key), payments.get(key)
        kept = ledger.charged(key) - ledger.refunded(key)
        status = payment.status if payment else None
        late = f"order-{key}" in ledger.approved_late
        if order and order.status == "refundPending" and status != "refundFailed":
            yield f"{key} rests until it is refunded, and its payment is {status}"
        elif kept != (expected := _to_be_kept(order, payment, key in outside.paid_directly or late)):
            yield f"{key} is {order and order.status}, and the provider keeps {kept} in place of {expected}"


def _to_be_kept(order: Order | None, payment: Payment | None, beside_the_saga: bool) -> Decimal:
    """Return what an order's customer must have paid in the end.

    Where the charge came by hand, or after the order had failed, no order rests until a refused refund is
    settled: the payment alone does.
    """
    if order and order.status == "confirmed":
        return order.total_amount
    resting = beside_the_saga or (order is not None and order.status == "refundPending")
    if payment and resting and payment.status == "refundFailed":
        return payment.amount
    if payment and not payment.saga and payment.status == "charged":
        return payment.amount
    return Decimal(0)


def _nothing_is_put_away(outside: Environment) -> Iterator[str]:
    expected = outside.to_be_put_away | outside.may_be_put_away
    found: Counter[tuple[str, bytes]] = Counter()
    for topology in TOPOLOGIES.values():
        for stored in outside.broker.queues[topology.dead_letter_queue].waiting:
            message = stored.message
            known = [
                tag for queue, tag in expected if queue == topology.dead_letter_queue and tag in message.body
            ]
            found.update((topology.dead_letter_queue, tag) for tag in known)
            if not known:
                yield f"in {topology.dead_letter_queue}: {message.routing_key}, {dict(message.headers)}"
    for queue, tag in sorted(outside.to_be_put_away - found.keys()):
        yield f"{tag!r} should be in {queue}"
    if not TWICE & outside.adversary.struck.keys():
        for (queue, tag), times in found.items():
            if times > 1:
                yield f"{tag!r} is {times} times in {queue}, and nothing has doubled it"

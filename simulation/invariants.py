"""What must hold when everything is quiet again."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import TypeVar

from events.catalogue import INVENTORY, ORDER, PAYMENT
from inventory_service.reservation import Reservation
from inventory_service.stock import Place
from order_service.order import Order
from payment_service.payment import Payment
from reactor.aggregate import Aggregate
from simulation.provider import Ledger
from simulation.services import TOPOLOGIES, Outside
from simulation.store import Table

M = TypeVar("M", bound=Aggregate)

ENDS = {"confirmed": "OrderCreated", "failed": "OrderFailed", "cancelled": "OrderFailed"}
HOLDS_NOTHING = ("failed", "cancelled")


def violations(outside: Outside, promised: Collection[str], owned: Mapping[Place, int]) -> list[str]:
    """Return everything that is not as it must be; `owned` is how much there is of everything."""
    orders = _states(outside.tables[ORDER], Order)
    reservations = _states(outside.tables[INVENTORY], Reservation)
    payments = _states(outside.tables[PAYMENT], Payment)
    return [
        *outside.crashes,
        *_every_order_ends(orders, promised),
        *_one_last_event(outside, orders),
        *_one_body_an_id(outside),
        *_stock_adds_up(outside, reservations, owned),
        *_stock_goes_with_orders(orders, reservations),
        *_money_adds_up(outside.ledger, orders, payments),
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


def _one_last_event(outside: Outside, orders: Mapping[str, Order]) -> Iterator[str]:
    last: dict[str, set[tuple[str | None, str | None]]] = defaultdict(set)
    for message in outside.broker.published:
        if message.type in ENDS.values():
            order_id = message.body.partition(b'"orderId":"')[2].partition(b'"')[0].decode()
            last[order_id].add((message.type, message.message_id))
    for order_id, order in orders.items():
        kinds = [kind for kind, _ in last[order_id]]
        expected = [ENDS[order.status]] if order.terminal else []
        if kinds != expected:
            yield f"{order_id} is {order.status}, but its last events are {kinds}"
    for order_id in last.keys() - orders.keys():
        yield f"{order_id} has a last event, and the order service knows nothing of it"


def _one_body_an_id(outside: Outside) -> Iterator[str]:
    bodies: dict[str, bytes] = {}
    for message in outside.broker.published:
        if message.message_id and bodies.setdefault(message.message_id, message.body) != message.body:
            yield f"two events with the id {message.message_id}: {message.body!r}"


def _stock_adds_up(
    outside: Outside, reservations: Mapping[str, Reservation], owned: Mapping[Place, int]
) -> Iterator[str]:
    held: Counter[Place] = Counter()
    sold: Counter[Place] = Counter()
    for reservation in reservations.values():
        for line in reservation.lines:
            place = (line.warehouse_id, line.product_id)
            if reservation.status == "held":
                held[place] += line.quantity
            elif reservation.status == "allocated":
                sold[place] += line.quantity
    for place, level in outside.shelves.levels.items():
        parts = (level.available, level.reserved, level.allocated)
        if min(parts) < 0 or sum(parts) != owned[place]:
            yield f"stock at {place} is {parts}, of {owned[place]} in all"
        if (level.reserved, level.allocated) != (held[place], sold[place]):
            yield f"stock at {place} is {parts}, but {held[place]} are held and {sold[place]} are sold"


def _stock_goes_with_orders(
    orders: Mapping[str, Order], reservations: Mapping[str, Reservation]
) -> Iterator[str]:
    for key, order in orders.items():
        reservation = reservations.get(key)
        status = reservation.status if reservation else None
        if order.terminal and status == "held":
            yield f"{key} is {order.status} and still holds stock"
        if order.status == "confirmed" and (reservation is None or status != "allocated"):
            yield f"{key} is confirmed without its stock, which is {status}"
        if order.status == "confirmed" and reservation and _units(order) != _lines(reservation):
            yield f"{key} is confirmed with {_lines(reservation)} in place of {_units(order)}"
        if order.status != "confirmed" and status == "allocated":
            yield f"{key} is {order.status}, and its stock is allocated"
    for key in sorted(reservations.keys() - orders.keys()):
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
    ledger: Ledger, orders: Mapping[str, Order], payments: Mapping[str, Payment]
) -> Iterator[str]:
    yield from ledger.broken
    known = {f"order-{key}" for key in orders}
    for key in sorted(ledger.charges.keys() - known):
        yield f"the provider was asked for a charge {key} of no order"
    for key, order in orders.items():
        charges = ledger.charged(key)
        kept = sum((charge.amount for charge in charges), Decimal(0)) - ledger.refunded(key)
        if len(charges) > 1:
            yield f"{key} was charged {len(charges)} times"
        if order.status == "refundPending":
            payment = payments.get(key)
            if payment is None or payment.status != "refundFailed":
                yield f"{key} rests until it is refunded, and its payment is {payment and payment.status}"
            continue
        expected = order.total_amount if order.status == "confirmed" else Decimal(0)
        if kept != expected:
            yield f"{key} is {order.status}, and the provider keeps {kept} in place of {expected}"


def _nothing_is_put_away(outside: Outside) -> Iterator[str]:
    for topology in TOPOLOGIES.values():
        for stored in outside.broker.queues[topology.dead].waiting:
            message = stored.message
            yield f"in {topology.dead}: {message.routing_key}, {dict(message.headers)}"

"""What must hold in the world of one order: in every state, and when nothing moves any more."""

from decimal import Decimal

from inventory_service.reservation import Reservation
from order_service.order import Order
from payment_service.payment import Payment
from verification.model_checker.model import OWNED, Ground, State
from verification.simulation.invariants import ENDS

MANY = 16
"""More messages in flight than any finite story of one order has."""


class Judge:
    """Judges the states of one world. What it has judged before, it remembers."""

    def __init__(self, world: Ground) -> None:
        self._world = world
        self._parts: dict[tuple[object, ...], str | None] = {}
        self._rests: dict[tuple[object, ...], str | None] = {}

    def wrong(self, state: State) -> str | None:
        """Return what is wrong with a state in which things may still be moving."""
        if len(state.flight) > MANY:
            return f"messages multiply: more than {MANY} are in flight"
        parts = state[:6]
        if parts not in self._parts:
            self._parts[parts] = self._wrong(state)
        return self._parts[parts]

    def wrong_at_rest(self, state: State) -> str | None:
        """Return what is wrong with a state in which nothing moves any more."""
        if state.flight and not self._forgotten(state):
            return f"never handled: {', '.join(self._world.in_flight(state))}"
        parts = (*state[:6], *state.left)
        if parts not in self._rests:
            self._rests[parts] = self._wrong_at_rest(state)
        return self._rests[parts]

    def _forgotten(self, state: State) -> bool:
        """The broker lost the request before the order service saw it, and the hold was gone before the first
        nudge: what is said of that order ends as a dead letter, and its publisher has to ask again."""
        return self._world.orders.state(state.order) is None and self._world.struck(state, "wipe")

    def _wrong(self, state: State) -> str | None:
        return self._stock(state) or self._charges(state) or self._last_events(state) or self._bodies(state)

    def _stock(self, state: State) -> str | None:
        reservation = self._world.reservations.state(state.reservation)
        for owned, level in zip(OWNED, self._world.levels[state.levels], strict=True):
            product, *units = level
            if min(units) < 0 or sum(units) != owned[1]:
                return f"the stock of {product} is {units}, of {owned[1]} in all"
            lines = reservation.lines if reservation else ()
            lined = sum(line.quantity for line in lines if line.product_id == product)
            status = reservation.status if reservation else None
            expected = [lined if status == kept else 0 for kept in ("held", "allocated")]
            if units[1:3] != expected:
                return f"the stock of {product} is {units}, and the reservation is {status} with {lined}"
        return None

    def _charges(self, state: State) -> str | None:
        charges = [key for key, word, _ in self._world.providers[state.provider] if word == "approved"]
        if len(charges) > 1:
            return f"charged {len(charges)} times: {', '.join(charges)}"
        if self._kept(state) < 0:
            return f"paid back more than was charged: {self._kept(state)}"
        return None

    def _last_events(self, state: State) -> str | None:
        ended = self._world.ends[state.ended]
        if len(ended) > 1:
            return f"more than one last event: {', '.join(self._world.events[one].type for one in ended)}"
        return None

    def _bodies(self, state: State) -> str | None:
        bodies: dict[str | None, int] = {}
        for place, service in enumerate(self._world.services):
            for _, _, emitted in service.cells[state.cell(place)].journal:
                for event in emitted:
                    event_id = self._world.events[event].event_id
                    if bodies.setdefault(event_id, event) != event:
                        return f"two events under one id: {self._world.events[event]}"
        return None

    def _wrong_at_rest(self, state: State) -> str | None:
        order = self._world.orders.state(state.order)
        reservation = self._world.reservations.state(state.reservation)
        payment = self._world.payments.state(state.payment)
        # What somebody has made over HTTP is his, until a saga asks for it.
        held = reservation.status if reservation and reservation.saga else None
        if payment and not payment.saga:
            payment = None
        if order is None:
            if payment or held == "held" or _sold(reservation):
                return f"nobody knows the order: reservation {held}, payment {payment and payment.status}"
            return None
        if held == "held":
            return f"the order is {order.status}, and its stock is still held"
        return (
            self._unfinished(state, order, payment)
            or _stock_of(order, reservation)
            or self._money_of(state, order, payment)
        )

    def _unfinished(self, state: State, order: Order, payment: Payment | None) -> str | None:
        resting = order.status == "refundPending"
        if resting and (payment is None or payment.status != "refundFailed"):
            return f"the order is refundPending, and its payment is {payment and payment.status}"
        if not order.terminal and not resting:
            return f"the order is {order.status} for ever, awaiting {order.awaiting}"
        last = [self._world.events[event].type for event in self._world.ends[state.ended]]
        if last != ([ENDS[order.status]] if order.terminal else []) and not self._unheard(state):
            return f"the order is {order.status}, and its last events are {last}"
        return None

    def _unheard(self, state: State) -> bool:
        """A service died before it could publish the last event, and the broker lost the message that would
        have made it do so: together, and only together, that goes beyond what the nudge mends."""
        struck = all(self._world.struck(state, fault) for fault in ("crash", "wipe"))
        return struck and not self._world.ends[state.ended]

    def _money_of(self, state: State, order: Order, payment: Payment | None) -> str | None:
        # A refund that the provider refuses is a person's to settle, whatever has become of the order.
        if payment is None or payment.status == "refundFailed":
            return None if order.status != "confirmed" else "the order is confirmed, and not paid for"
        kept = self._kept(state)
        if kept != (order.total_amount if order.status == "confirmed" else 0):
            return f"the order is {order.status}, and the provider keeps {kept}"
        return None

    def _kept(self, state: State) -> Decimal:
        signs = {"approved": 1, "refunded": -1}
        verdicts = self._world.providers[state.provider]
        return sum((signs.get(word, 0) * amount for _, word, amount in verdicts), Decimal(0))


def _stock_of(order: Order, reservation: Reservation | None) -> str | None:
    sold = _sold(reservation)
    if sold != (order.status == "confirmed"):
        return f"the order is {order.status}, and its stock is {reservation and reservation.status}"
    if sold and reservation:
        units = {line.product_id: line.quantity for line in reservation.lines}
        if units != {item.product_id: item.quantity for item in order.items}:
            return f"the order is confirmed with {units}"
    return None


def _sold(reservation: Reservation | None) -> bool:
    # What was allocated over HTTP is not the saga's, which was told that it holds nothing.
    return bool(reservation and reservation.status == "allocated" and reservation.confirmation_record)

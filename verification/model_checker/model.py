"""The model of one order: its state, and what every move is made of.

The services' tables and the engine are the production ones (`model_checker.services`). What is simplified: a
message is in flight until it is handled, in any order, so that a late, delayed, redelivered or unpublished
one (not yet relayed, unacknowledged) is the same; time is only before and after the end of the hold and the
deadline; the provider decides once for each key, and answers at any time after that.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from events.catalogue import (
    INVENTORY,
    ORDER,
    PAYMENT,
    SERVICES,
    Event,
    InventoryReleaseRequested,
    InventoryReservationRequested,
    PaymentRequested,
)
from events.identity import with_defaults
from events.values import Item
from inventory_service import reactions as inventory_reactions
from inventory_service.reservation import Hold, Reservation
from order_service import reactions as order_reactions
from order_service.order import Order
from payment_service import reactions as payment_reactions
from payment_service.payment import Payment
from payment_service.reactions import Retries
from verification.model_checker.interner import Interner
from verification.model_checker.services import NOON, ORDER_ID, Effect, Levels, MemoizedService

FAULTS = {
    "duplicate": "any message is delivered once more",
    "crash": "a service crashes after saving: it publishes its events again",
    "cancel": "the customer cancels",
    "expiry": "the hold runs out",
    "deadline": "the order's deadline passes",
    "late": "the provider is silent, or answers again, or approves what it had declined",
    "refuse": "the provider refuses a refund, once, until a person has it tried again, or always",
    "pending": "the provider decides on a charge or a refund later, and may answer `pending` too late",
    "same": "the same request is also published manually",
    "other": "a request for other items is published manually under the same order id",
    "release": "the release of its stock is published manually",
    "adopt": "the order is not placed: its request is published manually",
    "hold": "stock is held directly, of these products or others, with a price or without",
    "charge": "the customer is charged directly, this amount or another, and may be refunded",
    "rival": "another customer takes the stock that is available",
    "nudge": "an order that makes progress is nudged",
    "wipe": "the broker loses any of its messages at once; an order that has come to rest is nudged",
}
"""The classes of faults: each may happen once, at any moment."""

OWNED: Levels = (("tea", 2, 0, 0, 0), ("coffee", 1, 0, 0, 0))
PRICES = {"tea": Decimal(25), "coffee": Decimal(9)}
RETRIES = Retries(attempts=1)

Decision = tuple[str, str, Decimal]
"""What the provider has decided: key, `approved`, `declined`, `refunded`, `refused` or `pending`, amount."""
Label = tuple[str, tuple[int, ...]]
"""What happens, with a pair of braces for each event that it concerns."""


class State(NamedTuple):
    """A state, everything in it by number. `ended`: the last events published so far."""

    order: int
    reservation: int
    payment: int
    levels: int
    provider: int
    ended: int
    flight: tuple[int, ...]
    left: tuple[int, ...]

    def cell(self, service: int) -> int:
        """Return the cell of a service."""
        return (self.order, self.reservation, self.payment)[service]


class Successor(NamedTuple):
    """A possible next step. A `fair` one happens sooner or later; the others may never happen."""

    fair: bool
    label: Label
    after: State


class Services:
    """The three services. Any number of searches may use the effects that they have computed."""

    def __init__(self) -> None:
        self.events: Interner[Event] = Interner()
        self.levels: Interner[Levels] = Interner()
        self.levels.number(())
        self.orders: MemoizedService[Order] = MemoizedService(
            ORDER, order_reactions.REACTIONS, self.events, self.levels
        )
        self.reservations: MemoizedService[Reservation] = MemoizedService(
            INVENTORY, inventory_reactions.REACTIONS, self.events, self.levels
        )
        self.payments: MemoizedService[Payment] = MemoizedService(
            PAYMENT, payment_reactions.REACTIONS, self.events, self.levels
        )


class ModelBase:
    """What there is: services, messages, a provider, stock; and each fault as often as it is named."""

    def __init__(self, faults: Sequence[str], services: Services) -> None:
        self.names = tuple(dict.fromkeys(faults))
        self.index = {name: place for place, name in enumerate(self.names)}
        self._budget = tuple(faults.count(name) for name in self.names)
        self.events, self.levels = services.events, services.levels
        self.orders, self.reservations, self.payments = (
            services.orders,
            services.reservations,
            services.payments,
        )
        self.services: tuple[MemoizedService[Any], ...] = (self.orders, self.reservations, self.payments)
        self.providers: Interner[tuple[Decision, ...]] = Interner()
        self.ends: Interner[tuple[int, ...]] = Interner()
        self.messages: Interner[tuple[int, int]] = Interner()
        self._fan_out: dict[int, tuple[int, ...]] = {}
        self._flights: dict[tuple[int, ...], tuple[int, ...]] = {}
        self.wanted = _request("tea", 2)
        self.holds = [_hold("tea", 2), _hold("coffee", 1), _hold("tea", 2, PRICES["tea"])]
        self.charges = [
            PaymentRequested(order_id=ORDER_ID, user_id="u-1", amount=price, idempotency_key="by-hand")
            for price in PRICES.values()
        ]
        self.published_manually = {
            "adopt": self._published_manually("hand-adopted", _request("tea", 2)),
            "same": self._published_manually("hand-same", _request("tea", 2)),
            "other": self._published_manually("hand-other", _request("coffee", 1)),
            "release": self._published_manually(
                "hand-release", InventoryReleaseRequested(order_id=ORDER_ID, reason="published_manually")
            ),
        }

    def start(self) -> State:
        """Return the state in which nothing has happened."""
        flight = self.copies([self.published_manually["adopt"]]) if "adopt" in self.index else ()
        return State(
            0,
            0,
            0,
            self.levels.number(OWNED),
            self.providers.number(()),
            self.ends.number(()),
            flight,
            self._budget,
        )

    def describe(self, label: Label) -> str:
        """Return what happens, in words."""
        what, events = label
        return what.format(*(self.events[event].type for event in events))

    def summary(self, state: State) -> str:
        """Return the status of order, reservation and payment."""
        found = (service.state(state.cell(place)) for place, service in enumerate(self.services))
        order, reservation, payment = (one.status if one else "-" for one in found)
        return f"{order} | {reservation} | {payment}"

    def in_flight(self, state: State) -> list[str]:
        """Return the messages in flight, each with the service that handles it."""
        messages = (self.messages[message] for message in state.flight)
        return [f"{self.events[event].type} to {SERVICES[service]}" for event, service in messages]

    def after(
        self,
        state: State,
        place: int,
        effect: Effect,
        flight: tuple[int, ...],
        published: Sequence[int],
        left: tuple[int, ...] | None = None,
    ) -> State:
        """Return the state after an effect: with what the service saved, and with what it published added to
        the messages in flight."""
        cells = [state.order, state.reservation, state.payment]
        cells[place] = effect.cell
        ended = state.ended
        for event in published:
            if not self.events[event].handled_by:
                ended = self.ends.number(tuple(sorted({*self.ends[ended], event})))
        return State(
            cells[0],
            cells[1],
            cells[2],
            effect.levels if place == 1 else state.levels,
            state.provider,
            ended,
            self.flight(flight, self.copies(published)),
            state.left if left is None else left,
        )

    def may(self, state: State, name: str) -> bool:
        """Return whether this fault may still strike."""
        place = self.index.get(name)
        return place is not None and state.left[place] > 0

    def has_struck(self, state: State, name: str) -> bool:
        """Return whether this fault has struck."""
        place = self.index.get(name)
        return place is not None and state.left[place] < self._budget[place]

    def spent(self, state: State, name: str) -> tuple[int, ...]:
        """Return the faults that are left after one of this kind."""
        place = self.index[name]
        return (*state.left[:place], state.left[place] - 1, *state.left[place + 1 :])

    def decided(self, state: State, key: str, word: str, amount: Decimal) -> int:
        """Return the provider's decisions after one on this key, which may replace an earlier one."""
        others = [decision for decision in self.providers[state.provider] if decision[0] != key]
        return self.providers.number(tuple(sorted([*others, (key, word, amount)])))

    def copies(self, events: Sequence[int]) -> tuple[int, ...]:
        """Return the messages that published events become: one for each service that handles them."""
        copies: tuple[int, ...] = ()
        for event in events:
            if event not in self._fan_out:
                services = self.events[event].handled_by
                self._fan_out[event] = tuple(
                    self.messages.number((event, SERVICES.index(service))) for service in services
                )
            copies += self._fan_out[event]
        return copies

    def flight(self, flight: tuple[int, ...], more: tuple[int, ...]) -> tuple[int, ...]:
        """Return a flight with more messages."""
        together = tuple(sorted(flight + more)) if more else flight
        return self._flights.setdefault(together, together)

    def _published_manually(self, event_id: str, event: Event) -> int:
        return self.events.number(with_defaults(event.model_copy(update={"event_id": event_id}), NOON))


def without(flight: tuple[int, ...], message: int) -> tuple[int, ...]:
    """Return the flight without one copy of a message."""
    place = flight.index(message)
    return flight[:place] + flight[place + 1 :]


def _request(product: str, quantity: int) -> InventoryReservationRequested:
    return InventoryReservationRequested(
        order_id=ORDER_ID,
        user_id="u-1",
        items=(Item(product_id=product, quantity=quantity),),
        total_amount=PRICES[product],
    )


def _hold(product: str, quantity: int, price: Decimal | None = None) -> Hold:
    return Hold(
        order_id=ORDER_ID,
        user_id="u-1",
        items=(Item(product_id=product, quantity=quantity),),
        user_location=None,
        total_amount=price,
        currency="USD",
        expires_in=None,
        payment_method=None,
    )

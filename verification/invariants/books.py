"""The books: stock by warehouse and product, money by currency."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from events.types import format_money
from inventory_service.reservation import Reservation
from inventory_service.stock import StockKey
from verification.invariants.case import Case, direct
from verification.invariants.rules import Finding, When, resting, taken


@dataclass(slots=True)
class Money:
    """The money in one currency. Of what was taken, each part must be for something."""

    charged: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)
    confirmed: Decimal = Decimal(0)
    resting: Decimal = Decimal(0)
    """Taken for orders whose refund a person has to settle."""
    in_progress: Decimal = Decimal(0)
    """Taken for orders that have not ended."""
    direct: Decimal = Decimal(0)
    """Taken over HTTP, for no order; not part of the others."""


@dataclass(slots=True)
class MoneyBook:
    """The money of the cases that were judged."""

    by_currency: defaultdict[str, Money] = field(default_factory=lambda: defaultdict(Money))

    def add(self, case: Case, when: When) -> None:
        """Count what one order has cost."""
        order = case.order.state if case.order else None
        if order and order.status == "confirmed":
            self.by_currency[order.currency].confirmed += order.total_amount
        if case.payment is None:
            return
        payment = case.payment.state
        book = self.by_currency[payment.currency]
        if not payment.saga:
            book.direct += taken(payment)
            return
        book.charged += payment.amount if payment.charge_id else 0
        book.refunded += payment.refunded_amount
        if resting(case):
            book.resting += taken(payment)
        elif payment.in_progress or _unfinished(case, when):
            book.in_progress += taken(payment)

    def findings(self) -> Iterator[Finding]:
        """Say where money was taken for nothing, or not taken for something."""
        for currency, book in sorted(self.by_currency.items()):
            kept = book.charged - book.refunded
            unanswered_requests = book.confirmed + book.resting + book.in_progress
            if kept != unanswered_requests:
                yield Finding(
                    "money adds up",
                    currency,
                    f"{format_money(kept)} were kept, for orders of {format_money(unanswered_requests)}",
                )


def _unfinished(case: Case, when: When) -> bool:
    if case.order is None:
        return not when.overdue(case.payment.updated_at if case.payment else when.now)
    return not case.order.state.terminal


@dataclass(frozen=True, slots=True)
class StockLevel:
    """The level of one product at one warehouse, as it is, even where it should not be."""

    available: int
    reserved: int
    allocated: int
    owned: int
    version: int


@dataclass(slots=True)
class StockBook:
    """The units that reservations hold and have allocated, by warehouse and product."""

    held: Counter[StockKey] = field(default_factory=Counter)
    allocated: Counter[StockKey] = field(default_factory=Counter)
    direct: Counter[StockKey] = field(default_factory=Counter)
    """Units among these that belong to no saga."""

    def add(self, reservation: Reservation) -> None:
        """Count what one reservation has."""
        units = {"held": self.held, "allocated": self.allocated}.get(reservation.status)
        if units is None:
            return
        for line in reservation.lines:
            place = (line.warehouse_id, line.product_id)
            units[place] += line.quantity
            if direct(reservation):
                self.direct[place] += line.quantity

    @property
    def places(self) -> set[StockKey]:
        """Wherever there is something."""
        return {*self.held, *self.allocated}

    def findings(
        self, shelves: Mapping[StockKey, StockLevel], places: Collection[StockKey]
    ) -> Iterator[Finding]:
        """Compare with the levels at these places."""
        for place in sorted(places):
            about, shelf = "/".join(place), shelves.get(place)
            if shelf is None:
                yield Finding("stock adds up", about, "reservations have stock there, and there is no level")
                continue
            if min(shelf.available, shelf.reserved, shelf.allocated) < 0:
                yield Finding(
                    "stock is not negative",
                    about,
                    f"{shelf.available} available, {shelf.reserved} reserved, {shelf.allocated} allocated",
                )
            units = shelf.available + shelf.reserved + shelf.allocated
            if units != shelf.owned:
                yield Finding(
                    "stock is conserved", about, f"{shelf.owned} were put there, and {units} are left"
                )
            sums = (self.held[place], self.allocated[place])
            if (shelf.reserved, shelf.allocated) != sums:
                yield Finding(
                    "stock adds up",
                    about,
                    f"{shelf.reserved} are reserved and {shelf.allocated} allocated, "
                    f"but reservations hold {sums[0]} and have allocated {sums[1]}",
                )


def moved(before: Mapping[StockKey, StockLevel], after: Mapping[StockKey, StockLevel]) -> set[StockKey]:
    """Return the places whose level has changed: every change of stock makes a new version of it."""
    return {place for place in {*before, *after} if before.get(place) != after.get(place)}

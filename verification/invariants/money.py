"""The money that orders have cost, by currency."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from events.types import format_money
from verification.invariants.case import Case
from verification.invariants.names import Finding, Invariant, Timing
from verification.invariants.order import awaiting_manual_refund, kept


@dataclass(slots=True)
class MoneyTotals:
    """The money in one currency. Whatever was charged and not refunded must be for something."""

    charged: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)
    confirmed: Decimal = Decimal(0)
    awaiting_manual_refund: Decimal = Decimal(0)
    """Kept for orders whose refund a person has to settle."""
    in_progress: Decimal = Decimal(0)
    """Kept for orders that have not ended."""
    direct: Decimal = Decimal(0)
    """Kept for charges over HTTP, outside any order; not part of the others."""


@dataclass(slots=True)
class MoneyBook:
    """The money of the cases that were judged."""

    by_currency: defaultdict[str, MoneyTotals] = field(default_factory=lambda: defaultdict(MoneyTotals))

    def add(self, case: Case, timing: Timing) -> None:
        """Count what one order has cost."""
        order = case.order.state if case.order else None
        if order and order.status == "confirmed":
            self.by_currency[order.currency].confirmed += order.total_amount
        if case.payment is None:
            return
        payment = case.payment.state
        totals = self.by_currency[payment.currency]
        if not payment.saga:
            totals.direct += kept(payment)
            return
        totals.charged += payment.amount if payment.charge_id else 0
        totals.refunded += payment.refunded_amount
        if awaiting_manual_refund(case):
            totals.awaiting_manual_refund += kept(payment)
        elif payment.in_progress or _unfinished(case, timing):
            totals.in_progress += kept(payment)

    def findings(self) -> Iterator[Finding]:
        """Return where money was kept for nothing, or not kept for something."""
        for currency, totals in sorted(self.by_currency.items()):
            found = totals.charged - totals.refunded
            expected = totals.confirmed + totals.awaiting_manual_refund + totals.in_progress
            if found != expected:
                yield Finding(
                    Invariant.MONEY_ADDS_UP,
                    currency,
                    f"{format_money(found)} were kept, for orders of {format_money(expected)}",
                )


def _unfinished(case: Case, timing: Timing) -> bool:
    if case.order is None:
        return not timing.overdue(case.payment.updated_at if case.payment else timing.now)
    return not case.order.state.terminal

"""What an audit found."""

from collections import Counter
from dataclasses import dataclass, field

from verification.invariants.case import Json
from verification.invariants.money import MoneyTotals
from verification.invariants.names import Finding, Invariant

LIST_LIMIT = 100
"""Violations that are kept with their events, and orders that are listed; more are only counted."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An order, a stock level or a currency that breaks a promise; for an order, its recorded events."""

    subject: str
    findings: list[Finding]
    events: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class AuditReport:
    """What an audit found."""

    orders: Counter[str] = field(default_factory=Counter)
    """All orders, by status."""
    judged: int = 0
    """Order ids that were judged, with an order or without."""
    changing: int = 0
    """Order ids that were not judged, since something about them has just changed."""
    levels: int = 0
    levels_changing: int = 0
    """Stock levels, and those among them that changed too often to be compared."""
    violations: list[Violation] = field(default_factory=list)
    broken: Counter[Invariant] = field(default_factory=Counter)
    """How often each invariant was broken, including violations that are not listed."""
    awaiting_manual_refund: list[str] = field(default_factory=list)
    """The first of the orders whose refund a person has to settle."""
    awaiting_manual_refund_count: int = 0
    orphaned_requests: int = 0
    """Requests that were rejected or expired, and whose order is unknown."""
    money: dict[str, MoneyTotals] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether no invariant is broken."""
        return not self.broken

    def add_manual_refund(self, order_id: str) -> None:
        """Count an order whose refund a person has to settle."""
        self.awaiting_manual_refund_count += 1
        if len(self.awaiting_manual_refund) < LIST_LIMIT:
            self.awaiting_manual_refund.append(order_id)

    def add(self, subject: str, found: list[Finding], events: list[Json]) -> None:
        """Add what was found about an order, a stock level or a currency."""
        if found:
            self.broken.update(one.invariant for one in found)
            if len(self.violations) < LIST_LIMIT:
                self.violations.append(Violation(subject, found, events))

"""The one list of invariants, and how a broken one is reported."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

OVERDUE = timedelta(minutes=5)
"""How long something may stay unfinished after its time while the system runs."""


class Invariant(StrEnum):
    """Every promise, by the name that reports show."""

    # One order (`order`)
    ORDER_ENDS = "order ends"
    ONE_LAST_EVENT = "one last event"
    ONE_BODY_PER_ID = "one body per id"
    STOCK_MATCHES_ORDER = "stock matches the order"
    MONEY_MATCHES_ORDER = "money matches the order"
    ONE_CHARGE = "one charge"
    PAYMENT_FINISHES = "payment finishes"
    HOLD_ENDS = "hold ends"
    BELONGS_TO_ORDER = "belongs to an order"
    EVENTS_ARE_PUBLISHED = "events are published"

    # Stock (`stock`) and money (`money`)
    STOCK_ADDS_UP = "stock adds up"
    STOCK_IS_CONSERVED = "stock is conserved"
    STOCK_IS_NOT_NEGATIVE = "stock is not negative"
    MONEY_ADDS_UP = "money adds up"
    BOOKS_AGREE = "books agree"

    # The databases (`audit`)
    DOCUMENT_IS_READABLE = "document is readable"
    NO_ORDER_IS_LOST = "no order is lost"

    # What only a simulated world shows (`world`, `simulation`, `model_checker`)
    PROVIDER_AGREES = "provider agrees"
    REFUND_IS_AWAITED = "refund is awaited"
    RECORDED_BEFORE_PUBLISHED = "recorded before published"
    DEAD_LETTERS_ARE_POISON = "dead letters are poison"
    COMES_TO_REST = "comes to rest"
    NO_CRASH = "no crash"


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise: which, about what (an order, a stock level, a currency, a queue), and how."""

    invariant: Invariant
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject} {self.text}  [{self.invariant}]"


@dataclass(frozen=True, slots=True)
class Timing:
    """When a case is judged, and whether the system has come to rest by then.

    `settled_for`: a case is judged only after nothing about it has changed for this long.
    """

    now: datetime
    settled_for: timedelta = timedelta(seconds=30)
    at_rest: bool = False

    def overdue(self, moment: datetime) -> bool:
        """Return whether what was due at that moment is too late."""
        return self.at_rest or moment + OVERDUE < self.now

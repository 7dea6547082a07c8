"""One saga as a timeline: its events, their services and their times since the start."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from events.catalogue import (
    Event,
    InventoryConfirmationFailed,
    InventoryConfirmed,
    InventoryReleased,
    InventoryReleaseRequested,
    InventoryReservationExpired,
    InventoryReservationFailed,
    InventoryReservationRequested,
    InventoryReserved,
    OrderCreated,
    OrderFailed,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentRequested,
)
from events.types import format_money
from operations.event_tap import Seen


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """One event of a saga; `milliseconds` since the saga's first event."""

    event: Event
    milliseconds: int

    @property
    def service(self) -> str:
        """The service that publishes events of this type."""
        return self.event.published_by


def timeline(seen: Iterable[Seen], start: datetime | None = None) -> list[TimelineStep]:
    """Return the events of a saga in order, each once; times count from the first, or from `start`.

    No event comes before its cause, even if their times are equal or the services' clocks differ.
    """
    known: dict[str | None, Event] = {}
    for one in seen:
        known.setdefault(one.event.event_id, one.event)
    placed = [(*_position(event, known), event) for event in known.values()]
    placed.sort(key=lambda place: place[:2])
    origin = start or (placed[0][0] if placed else None)
    return [TimelineStep(event, _milliseconds(moment - origin)) for moment, _, event in placed if origin]


def lines(steps: Iterable[TimelineStep]) -> list[str]:
    """Render a timeline as plain text, one line for each event: time, service, type, content."""
    return [line(step) for step in steps]


def line(step: TimelineStep) -> str:
    """Render one step."""
    text = f"{step.milliseconds:>7} ms  {step.service:<17}  {step.event.type:<30}  {detail(step.event)}"
    return text.rstrip()


def detail(event: Event) -> str:
    """Summarize the content of an event: lines, amount, reason."""
    return "; ".join(part for part in _parts(event) if part)


def _parts(event: Event) -> Iterator[str]:
    match event:
        case InventoryReserved() | InventoryConfirmed() | InventoryReleased() | InventoryReservationExpired():
            yield ", ".join(f"{h.quantity} x {h.product_id} at {h.warehouse_id}" for h in event.reservations)
        case InventoryReservationRequested() | InventoryReservationFailed() | OrderCreated():
            yield ", ".join(f"{item.quantity} x {item.product_id}" for item in event.items)
            yield f"{format_money(event.total_amount)} {event.currency}"
        case PaymentRequested() | PaymentCompleted() | PaymentRefundRequested() | PaymentRefunded():
            yield f"{format_money(event.amount)} {event.currency}"
    match event:
        case InventoryReservationFailed():
            yield event.reason
            for short in event.shortages:
                yield f"{short.available} of {short.requested} {short.product_id} available"
        case (
            PaymentFailed()
            | InventoryConfirmationFailed()
            | InventoryReleaseRequested()
            | PaymentRefundRequested()
            | PaymentRefundFailed()
            | OrderFailed()
        ):
            yield event.reason


def _position(event: Event, known: Mapping[str | None, Event]) -> tuple[datetime, int]:
    """Return the moment of an event, no earlier than any of its causes, and the number of these."""
    chain: dict[str | None, Event] = {}
    cause: Event | None = event
    while cause is not None and cause.event_id not in chain:
        chain[cause.event_id] = cause
        cause = known.get(cause.causation_id) if cause.causation_id else None
    return max(one.occurred_at for one in chain.values() if one.occurred_at), len(chain)


def _milliseconds(span: timedelta) -> int:
    return round(span / timedelta(milliseconds=1))

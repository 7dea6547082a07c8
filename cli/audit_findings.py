"""What an audit found, as text and as JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from events.codec import InvalidEvent, from_json
from events.types import format_money
from operations.event_tap import Seen
from operations.timeline import lines, timeline
from verification.audit.report import AuditReport, Violation
from verification.invariants.case import Json


def describe(report: AuditReport) -> list[str]:
    """Render a report as plain text."""
    return [
        *(line for violation in report.violations for line in _violation(violation)),
        *_awaiting_manual_refund(report),
        *_orphaned_requests(report),
        *_money(report),
        f"{report.orders.total()} orders{_by_status(report.orders)}: {report.judged} judged, "
        f"{report.changing} still changing",
        f"{report.levels} stock levels, {report.levels_changing} still changing; {report.seconds:.1f} s",
        _conclusion(report),
    ]


def to_json(report: AuditReport) -> Json:
    """Return the object that `--json` prints."""
    return {
        "ok": report.ok,
        "orders": dict(report.orders),
        "judged": report.judged,
        "changing": report.changing,
        "stock": {"levels": report.levels, "changing": report.levels_changing},
        "money": {
            currency: {name: format_money(amount) for name, amount in asdict(totals).items()}
            for currency, totals in report.money.items()
        },
        "awaitingManualRefund": {
            "count": report.awaiting_manual_refund_count,
            "orders": report.awaiting_manual_refund,
        },
        "orphanedRequests": report.orphaned_requests,
        "broken": dict(report.broken),
        "violations": [
            {
                "subject": violation.subject,
                "findings": [{"invariant": one.invariant, "text": one.text} for one in violation.findings],
                "timeline": event_lines(violation.events),
            }
            for violation in report.violations
        ],
        "seconds": round(report.seconds, 3),
    }


def event_lines(events: Iterable[Json]) -> list[str]:
    """Render recorded events as a timeline, followed by those that cannot be decoded."""
    known, undecodable = [], []
    for event in events:
        try:
            known.append(Seen(from_json(event), datetime.now(UTC)))
        except InvalidEvent as error:
            undecodable.append(f"    cannot be decoded: {event.get('type')} {event.get('eventId')}: {error}")
    return [*lines(timeline(known)), *undecodable]


def _violation(violation: Violation) -> list[str]:
    return [
        *map(str, violation.findings),
        *event_lines(violation.events),
        *([""] if violation.events else []),
    ]


def _awaiting_manual_refund(report: AuditReport) -> list[str]:
    count, listed = report.awaiting_manual_refund_count, report.awaiting_manual_refund
    if not count:
        return []
    some = ", ".join(listed) + (" ..." if count > len(listed) else "")
    return [f"{count} orders wait for an operator to settle the refund: {some}", ""]


def _orphaned_requests(report: AuditReport) -> list[str]:
    if not report.orphaned_requests:
        return []
    return [
        f"{report.orphaned_requests} rejected or expired requests belong to no known order: the broker lost "
        "the request before the order service read it; ask the publisher to send it again",
        "",
    ]


def _money(report: AuditReport) -> list[str]:
    return [
        f"{currency}: "
        + ", ".join(
            f"{format_money(amount)} {name.replace('_', ' ')}"
            for name, amount in asdict(totals).items()
            if amount or name in ("charged", "refunded", "confirmed")
        )
        for currency, totals in sorted(report.money.items())
    ]


def _by_status(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f" ({listed})" if listed else ""


def _conclusion(report: AuditReport) -> str:
    if report.ok and not report.judged:
        why = "every order has just changed" if report.changing else "the databases hold no order"
        return f"nothing was judged: {why}"
    if report.ok:
        return "no promise is broken"
    return "broken: " + ", ".join(f"{name} ({count})" for name, count in report.broken.most_common())

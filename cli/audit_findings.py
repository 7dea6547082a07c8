"""What the audit has found, as text and as JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from events.codec import InvalidEvent, from_json
from events.types import format_money
from operations.event_tap import Seen
from operations.timeline import lines, timeline
from verification.audit.judge import Report, Violation
from verification.invariants.case import Json


def describe(report: Report) -> list[str]:
    """Render a report as plain text."""
    return [
        *(line for offender in report.offenders for line in _offender(offender)),
        *_resting(report),
        *_forgotten(report),
        *_books(report),
        f"{report.orders.total()} orders{_of(report.orders)}: {report.judged} judged, "
        f"{report.moving} still moving",
        f"{report.places} levels of stock, {report.places_moving} still moving; {report.seconds:.1f} s",
        _verdict(report),
    ]


def to_json(report: Report) -> Json:
    """Return the object that `--json` prints."""
    return {
        "ok": report.ok,
        "orders": dict(report.orders),
        "judged": report.judged,
        "moving": report.moving,
        "stock": {"levels": report.places, "moving": report.places_moving},
        "money": {
            currency: {name: format_money(amount) for name, amount in asdict(book).items()}
            for currency, book in report.money.items()
        },
        "resting": {"count": report.resting_count, "orders": report.resting},
        "forgotten": report.forgotten,
        "broken": dict(report.broken),
        "offenders": [
            {
                "about": offender.about,
                "findings": [{"rule": one.rule, "text": one.text} for one in offender.findings],
                "timeline": story(offender.events),
            }
            for offender in report.offenders
        ],
        "seconds": round(report.seconds, 3),
    }


def story(events: Iterable[Json]) -> list[str]:
    """Render recorded events as a timeline; those that are no events any more stand at its end."""
    known, strange = [], []
    for event in events:
        try:
            known.append(Seen(from_json(event), datetime.now(UTC)))
        except InvalidEvent as error:
            strange.append(f"    not readable: {event.get('type')} {event.get('eventId')}: {error}")
    return [*lines(timeline(known)), *strange]


def _offender(offender: Violation) -> list[str]:
    return [
        *(f"{offender.about} {finding.text}  [{finding.rule}]" for finding in offender.findings),
        *story(offender.events),
        *([""] if offender.events else []),
    ]


def _resting(report: Report) -> list[str]:
    if not report.resting_count:
        return []
    some = ", ".join(report.resting) + (" ..." if report.resting_count > len(report.resting) else "")
    return [f"{report.resting_count} orders rest until a person settles a refund: {some}", ""]


def _forgotten(report: Report) -> list[str]:
    if not report.forgotten:
        return []
    return [
        f"{report.forgotten} requests were refused or ran out, and no order is known for them: the broker "
        "lost them before the order service saw them; who published them has to ask again",
        "",
    ]


def _books(report: Report) -> list[str]:
    return [
        f"{currency}: "
        + ", ".join(
            f"{format_money(amount)} {name.replace('_', ' ')}"
            for name, amount in asdict(book).items()
            if amount or name in ("charged", "refunded", "confirmed")
        )
        for currency, book in sorted(report.money.items())
    ]


def _of(counts: Mapping[str, int]) -> str:
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f" ({told})" if told else ""


def _verdict(report: Report) -> str:
    if report.ok and not report.judged:
        why = "every order has changed lately" if report.moving else "the databases hold no order"
        return f"nothing was judged: {why}"
    if report.ok:
        return "no promise is broken"
    return "broken: " + ", ".join(f"{rule} ({count})" for rule, count in report.broken.most_common())

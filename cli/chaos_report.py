"""The report of a chaos run, as tables and as JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Table

from cli.audit_findings import describe
from cli.audit_findings import to_json as audit_to_json
from cli.console import print_plain
from operations.client import Json
from verification.chaos.faults import KINDS, PARTS
from verification.chaos.report import ChaosReport


def to_json(report: ChaosReport) -> Json:
    """Return the object that `--json` prints."""
    slowest = report.slowest
    return {
        "ok": report.ok,
        "problems": report.problems,
        "accepted": report.accepted,
        "orders": {profile: dict(counts) for profile, counts in report.statuses.items()},
        "faults": [{**asdict(one.fault), "recovery": round(one.recovery, 3)} for one in report.injected],
        "slowestRecovery": round(slowest.recovery, 3) if slowest else None,
        "deadLetters": dict(report.dead_letters),
        "atRestAfter": round(report.rest, 3),
        "audit": audit_to_json(report.audit),
        "seconds": round(report.seconds, 3),
    }


def print_report(console: Console, report: ChaosReport) -> None:
    """Print the tables, the audit and the conclusion."""
    console.print(_orders(report))
    console.print(_faults(report))
    slowest = report.slowest
    lines = [f"slowest recovery: {slowest.recovery:.1f} s, after the {slowest.fault}"] if slowest else []
    lines += [f"at rest {report.rest:.1f} s after the last fault", "", *describe(report.audit), ""]
    conclusion = "every promise was kept" if report.ok else "failed"
    lines += [
        *report.problems,
        f"{report.accepted} orders were accepted and {len(report.injected)} faults injected in "
        f"{report.seconds:.0f} s: {conclusion}",
    ]
    print_plain(console, *lines)


def _orders(report: ChaosReport) -> Table:
    statuses = sorted({status for counts in report.statuses.values() for status in counts})
    table = _table("Orders by status", "profile", [*statuses, "sum"])
    for profile, counts in sorted(report.statuses.items()):
        table.add_row(profile, *(str(counts[status] or "") for status in statuses), str(counts.total()))
    total = sum(report.statuses.values(), Counter())
    table.add_row("all", *(str(total[status]) for status in statuses), str(total.total()))
    return table


def _faults(report: ChaosReport) -> Table:
    table = _table("Faults by part", "part", [*KINDS, "sum"])
    counts = Counter((one.fault.part, one.fault.kind) for one in report.injected)
    for part in PARTS:
        row = [counts[part, kind] for kind in KINDS]
        table.add_row(part, *(str(count or "") for count in row), str(sum(row)))
    return table


def _table(title: str, first: str, counts: Sequence[str]) -> Table:
    table = Table(first, title=title, title_justify="left", box=box.SIMPLE)
    for name in counts:
        table.add_column(name, justify="right")
    return table

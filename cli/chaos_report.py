"""What came of the chaos: its judgement, its tables, and the same as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from cli.audit_findings import describe
from cli.audit_findings import to_json as audit_to_json
from cli.console import print_plain
from operations.client import Json
from verification.audit.report import AuditReport
from verification.chaos.faults import KINDS, PARTS
from verification.chaos.victim import InjectedFault


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the chaos.

    `ways` tells how the accepted orders ended, by the way they were placed in; `rest` is how many seconds
    after the last fault the system had come to rest; `problems` is what neither audit nor dead letters tell.
    """

    accepted: int
    ways: Mapping[str, Counter[str]]
    strikes: Sequence[InjectedFault]
    planned: int
    report: AuditReport
    dead_letters: Mapping[str, int]
    problems: Sequence[str]
    rest: float
    seconds: float

    @property
    def told(self) -> list[str]:
        """Everything that is not as it should be, but for what the audit tells itself."""
        letters = [f"{count} dead letters of {service}" for service, count in self.dead_letters.items()]
        missed = self.planned - len(self.strikes)
        return [*self.problems, *letters, *([f"{missed} faults were not carried out"] if missed else [])]

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return self.report.ok and not self.told

    @property
    def slowest(self) -> InjectedFault | None:
        """The strike that it took the longest to recover from."""
        return max(self.strikes, key=lambda strike: strike.recovery, default=None)


def to_json(outcome: Outcome) -> Json:
    """Return the object that `--json` prints."""
    slowest = outcome.slowest
    return {
        "ok": outcome.ok,
        "problems": outcome.told,
        "accepted": outcome.accepted,
        "orders": {way: dict(ends) for way, ends in outcome.ways.items()},
        "faults": [
            {**asdict(strike.fault), "recovery": round(strike.recovery, 3)} for strike in outcome.strikes
        ],
        "slowestRecovery": round(slowest.recovery, 3) if slowest else None,
        "deadLetters": dict(outcome.dead_letters),
        "atRestAfter": round(outcome.rest, 3),
        "audit": audit_to_json(outcome.report),
        "seconds": round(outcome.seconds, 3),
    }


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print the tables and the verdict."""
    console.print(_orders(outcome))
    console.print(_faults(outcome))
    if outcome.slowest:
        print_plain(
            console, f"slowest recovery: {outcome.slowest.recovery:.1f} s, after the {outcome.slowest.fault}"
        )
    print_plain(
        console, f"at rest {outcome.rest:.1f} s after the last fault", "", *describe(outcome.report), ""
    )
    print_plain(console, *outcome.told)
    print_plain(
        console,
        f"{outcome.accepted} orders were accepted, {len(outcome.strikes)} faults struck, in "
        f"{outcome.seconds:.0f} s: {'every promise was kept' if outcome.ok else 'not as it should be'}",
    )


def _orders(outcome: Outcome) -> Table:
    ends = sorted({end for counts in outcome.ways.values() for end in counts})
    table = _table("Orders by end", "way", [*ends, "sum"])
    for way, counts in sorted(outcome.ways.items()):
        table.add_row(way, *(str(counts[end] or "") for end in ends), str(counts.total()))
    total = sum(outcome.ways.values(), Counter())
    table.add_row("all", *(str(total[end]) for end in ends), str(total.total()))
    return table


def _faults(outcome: Outcome) -> Table:
    table = _table("Faults by part", "part", [*KINDS, "sum"])
    counts = Counter((strike.fault.part, strike.fault.kind) for strike in outcome.strikes)
    for part in PARTS:
        row = [counts[part, kind] for kind in KINDS]
        table.add_row(part, *(str(count or "") for count in row), str(sum(row)))
    return table


def _table(title: str, first: str, counts: Sequence[str]) -> Table:
    table = Table(first, title=title, title_justify="left", box=box.SIMPLE)
    for name in counts:
        table.add_column(name, justify="right")
    return table

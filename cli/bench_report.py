"""The report of a benchmark, as tables and as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.report import BenchReport, Counts, Round, SystemReport, total
from benchmarks.systems.system import PARTS
from cli.bench_plot import to_text
from cli.console import print_plain
from operations.client import Json

DISTURBED = 8.0
"""Percent of the machine: wall times are not to be trusted if others have used more."""
COUNTED = {
    "messages published": "published",
    "messages delivered": "delivered",
    "acks sent": "acks",
    "bytes, broker": "broker bytes",
    "documents inserted": "inserted",
    "documents changed": "changed",
    "documents read": "returned",
    "index entries written": "index entries",
    "round trips, database": "round trips",
    "bytes, database": "database bytes",
}
"""The rows of the table of counts, and the name of each count."""


def print_report(console: Console, report: BenchReport) -> None:
    """Print the tables, the plot, the machine and the conclusion."""
    measured = [system for system in report.systems if system.rounds]
    console.print(_throughput(report, measured))
    console.print(_counts(report))
    console.print(_latencies(report, measured))
    print_plain(console, *(to_text(report) if measured else []), "")
    print_plain(console, *(f"{name}: {value}" for name, value in report.machine.items()), "")
    print_plain(console, *_warnings(report, measured), *_conclusion(report))


def to_json(report: BenchReport) -> Json:
    """Return the object that `--json` prints."""
    return {
        "ok": report.ok,
        "seconds": round(report.seconds, 1),
        "machine": {_camel(name): value for name, value in report.machine.items()},
        "orders": report.plan.orders,
        "throughProxies": not report.plan.direct,
        "leftOut": list(report.left_out),
        "systems": [_system(report, system) for system in report.systems],
    }


def _throughput(report: BenchReport, systems: list[SystemReport]) -> Table:
    table = _table(f"A burst of {report.plan.orders} orders; CPU in ms a saga", "")
    for name in ("sagas/s", "CPU", *PARTS, "idle %", "services MB"):
        table.add_column(name.replace("_service", ""), justify="right")
    for system in systems:
        table.add_row(
            f"{system.name}: {system.about}",
            _spread(system, lambda one: one.per_second, ".0f"),
            _spread(system, lambda one: one.cpu_total, ".1f"),
            *(f"{system.cpu(part):.1f}" for part in PARTS),
            f"{median(one.idle_percent for one in system.rounds):.1f}",
            f"{median(one.megabytes for one in system.rounds):.0f}",
        )
    return table


def _counts(report: BenchReport) -> Table:
    table = _table("Counted per saga: one after the other / in a burst", "")
    for system in report.systems:
        table.add_column(system.name, justify="right")
    for title, name in COUNTED.items():
        table.add_row(
            title,
            *(
                f"{total(system.one_by_one, name):,.1f} / {total(system.batched, name):,.1f}"
                for system in report.systems
            ),
        )
    return table


def _latencies(report: BenchReport, systems: list[SystemReport]) -> Table:
    table = _table("Latency in ms from the scheduled time: p50 / p90 / p99 / max", "offered")
    for system in systems:
        table.add_column(system.name, justify="right")
    for rate in report.plan.rates:
        cells = []
        for system in systems:
            found = system.latency(rate)
            values = (found.p50, found.p90, found.p99, found.max) if found else ()
            behind = "" if found is None or found.kept_up else ", fell behind"
            cells.append(" / ".join(f"{value:.0f}" for value in values) + behind)
        if any(cells):
            table.add_row(f"{rate:g}/s", *cells)
    return table


def _warnings(report: BenchReport, systems: list[SystemReport]) -> list[str]:
    disturbed = [
        f"{system.name}: others used {percent:.0f} % of the machine; trust CPU and counts, not wall times"
        for system in systems
        if (percent := max(one.others_percent for one in system.rounds)) > DISTURBED
    ]
    proxies = [] if report.plan.direct else ["through the counting proxies: times and CPU are too high"]
    return [*(f"left out: {reason}" for reason in report.left_out), *proxies, *disturbed]


def _conclusion(report: BenchReport) -> list[str]:
    lines = []
    for system in report.systems:
        lines += [f"{system.name}: {problem}" for problem in system.problems]
        if system.ok:
            lines.append(f"{system.name}: {system.verified} sagas ended as they had to")
    return [*lines, f"{report.seconds:.0f} s: {'everything verified' if report.ok else 'failed'}"]


def _system(report: BenchReport, system: SystemReport) -> Json:
    return {
        "name": system.name,
        "about": system.about,
        "ok": system.ok,
        "problems": system.problems,
        "verified": system.verified,
        "counted": {
            "oneByOne": _by_role(system.one_by_one),
            "batched": _by_role(system.batched),
        },
        "sagasPerSecond": [round(one.per_second, 1) for one in system.rounds],
        "cpuMilliseconds": [
            {_camel(part): round(value, 3) for part, value in one.cpu.items()} for one in system.rounds
        ],
        "idlePercent": [round(one.idle_percent, 2) for one in system.rounds],
        "servicesMegabytes": [round(one.megabytes, 1) for one in system.rounds],
        "othersPercent": [round(one.others_percent, 1) for one in system.rounds],
        "latencies": [
            {_camel(name): value for name, value in asdict(found).items()}
            for rate in report.plan.rates
            if system.rounds and (found := system.latency(rate))
        ],
    }


def _by_role(counts: Mapping[str, Counts]) -> Json:
    return {role: dict(found) for role, found in counts.items()}


def _spread(system: SystemReport, value: Callable[[Round], float], form: str) -> str:
    """Return the median, with the least and the greatest if there were several rounds."""
    values = [value(one) for one in system.rounds]
    text = format(median(values), form)
    return text if len(values) == 1 else f"{text} ({min(values):{form}}..{max(values):{form}})"


def _table(title: str, first: str) -> Table:
    return Table(first, title=title, title_justify="left", box=box.SIMPLE)


def _camel(name: str) -> str:
    first, *rest = name.replace("_", " ").split()
    return first + "".join(word.capitalize() for word in rest)

"""`saga simulate`: run the services against an adversary, thousands of schedules at a time."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from verification.simulation.schedules import explain, play_all
from verification.simulation.world import ScheduleResult

EPILOG = "Example: saga simulate --schedules 20000 --seed 1"

console = Console(highlight=False)


@dataclass
class Totals:
    """What the schedules found so far."""

    started: float = field(default_factory=monotonic)
    played: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    failed: ScheduleResult | None = None

    def add(self, result: ScheduleResult) -> None:
        """Count one schedule."""
        self.played += 1
        self.ends.update(result.ends)
        self.faults.update(result.faults)
        if result.violations:
            self.failed = result

    @property
    def rate(self) -> float:
        """Schedules a second."""
        return self.played / max(monotonic() - self.started, 0.001)

    def as_json(self) -> dict[str, Any]:
        """Return everything, for a script."""
        failed = self.failed
        return {
            "schedules": self.played,
            "seconds": round(monotonic() - self.started, 1),
            "orders": self.ends.total(),
            "ends": dict(self.ends),
            "faults": dict(self.faults),
            "failed": failed
            and {
                "seed": failed.seed,
                "violations": [str(one) for one in failed.violations],
                "reproduce": failed.command,
            },
        }


def simulate(
    schedules: Annotated[int, typer.Option(min=1, help="How many schedules to play.")] = 1000,
    seed: Annotated[
        int, typer.Option(min=0, help="The seed of the first schedule; the next ones follow.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the three services in virtual time against every kind of fault.

    Each schedule has a seed that decides every fault. The first that breaks a promise is shown as a
    timeline, with the command that plays it again; the exit code is 1 then.
    """
    totals = Totals()
    _play(range(seed, seed + schedules), totals, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(totals.as_json()))
    else:
        _print(totals)
    if totals.failed is not None:
        raise typer.Exit(1)


def _play(seeds: range, totals: Totals, *, quiet: bool) -> None:
    """Play until a violation is found."""
    rate = TextColumn("{task.fields[rate]:.0f}/s")
    columns = (TextColumn("schedules"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        bar = progress.add_task("schedules", total=len(seeds), rate=0)
        for result in play_all(seeds):
            totals.add(result)
            progress.update(bar, advance=1, rate=totals.rate)
            if result.violations:
                break


def _print(totals: Totals) -> None:
    if totals.failed is not None:
        console.print(explain(totals.failed), markup=False, soft_wrap=True)
    console.print(f"{totals.played} schedules, {totals.rate:.0f} a second")
    console.print(f"{totals.ends.total()} orders: {_counts(totals.ends)}")
    console.print(f"{totals.faults.total()} faults: {_counts(totals.faults)}")
    if totals.failed is not None:
        console.print(f"seed {totals.failed.seed} breaks a promise")
    else:
        console.print("every order ended, and no promise is broken")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))

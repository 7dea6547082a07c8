"""`saga simulate`: prove the services against an adversary, thousands of schedules at a time."""

from collections import Counter
from collections.abc import Mapping
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulation.schedules import play_all, story
from simulation.world import Result

EPILOG = "Example: saga simulate --schedules 20000 --seed 1"

console = Console(highlight=False)


def simulate(
    schedules: Annotated[int, typer.Option(min=1, help="How many schedules to play.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the first; each next one is one more.")] = 1,
) -> None:
    """Run the three services in virtual time against everything that can go wrong.

    Each schedule has a seed that decides every fault. The first whose books do not balance is told as a
    timeline, with the command that shows it again; the exit code is 1 then.
    """
    started = monotonic()
    played = 0
    faults: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    failed: Result | None = None
    columns = (TextColumn("schedules"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("schedules", total=schedules)
        for result in play_all(range(seed, seed + schedules)):
            played += 1
            faults.update(result.faults)
            ends.update(result.ends)
            progress.advance(bar)
            if result.violations:
                failed = result
                break
    if failed is not None:
        console.print(story(failed), markup=False, soft_wrap=True)
    rate = played / (monotonic() - started)
    console.print(f"{played} schedules, {rate:.0f} a second, {faults.total()} faults: {_counts(faults)}")
    console.print(f"{ends.total()} orders: {_counts(ends)}")
    if failed is not None:
        console.print(f"violated by seed {failed.seed}")
        raise typer.Exit(1)
    console.print("every order ended, and all books balance")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))

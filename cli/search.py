"""`saga search`: explore every interleaving of one order's events and faults."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from time import monotonic
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from verification.model_checker.combinations import fault_combinations, search_all
from verification.model_checker.model import FAULTS
from verification.model_checker.search import NO_FAULTS, SearchResult

EPILOG = "\b\nFaults:\n" + "\n".join(f"  {name:<10} {about}" for name, about in FAULTS.items()) + "\n\n"
EPILOG += "\b\nExamples:\n  saga search\n  saga search --faults crash,wipe\n  saga search --together 3"

console = Console(highlight=False)


def search(
    faults: Annotated[
        str | None,
        typer.Option(help="Only these faults, comma-separated; name a fault twice to allow it twice."),
    ] = None,
    most: Annotated[
        int, typer.Option("--together", min=0, max=4, help="The most classes of faults to combine.")
    ] = 2,
    limit: Annotated[int, typer.Option(min=1, help="Stop a search after this many states.")] = 2_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explore every state that one order can reach, with faults at any moment.

    Without --faults: no fault, each class alone, and all pairs. The reaction tables and the journal are the
    production ones. A violation is shown with the shortest path to it. The exit code is 1 after a violation,
    and after a search that was given up at its limit.

    `quiescent` counts the states in which everything rests. `farthest` counts the moves to the state that
    needs most of them, `longest` those of the longest path: there is none where nudges form a cycle, as they
    may after a wipe.
    """
    choices = [_chosen(faults)] if faults is not None else fault_combinations(most=most)
    started = monotonic()
    found = _run(choices, limit, quiet=as_json)
    seconds = monotonic() - started
    if as_json:
        output = {"searches": [asdict(one) for one in found], **_totals(found), "seconds": round(seconds, 2)}
        typer.echo(json.dumps(output))
    else:
        _print(found, seconds)
    if not all(one.complete for one in found):
        raise typer.Exit(1)


def _chosen(faults: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in faults.split(",")) if faults != NO_FAULTS else ()
    if unknown := [name for name in names if name not in FAULTS]:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: choose from {', '.join(FAULTS)}, or {NO_FAULTS}", param_hint="--faults"
        )
    return names


def _run(choices: Sequence[Sequence[str]], limit: int, *, quiet: bool) -> list[SearchResult]:
    """Search until a violation is found."""
    found: list[SearchResult] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        bar = progress.add_task("searches", total=len(choices))
        for one in search_all(choices, limit):
            found.append(one)
            progress.advance(bar)
            if one.violation:
                break
    return found


def _totals(found: Sequence[SearchResult]) -> dict[str, int | None]:
    return {
        "states": sum(one.states for one in found),
        "transitions": sum(one.transitions for one in found),
        "quiescent": sum(one.quiescent for one in found),
        "farthest": max(one.farthest for one in found),
        "longest": max((one.longest for one in found if one.longest is not None), default=None),
    }


def _print(found: Sequence[SearchResult], seconds: float) -> None:
    table = Table(box=box.SIMPLE, show_footer=True)
    table.add_column("faults", footer=f"searches: {len(found)}", no_wrap=True)
    for name, total in _totals(found).items():
        table.add_column(name, justify="right", footer=_number(total))
    for one in found:
        numbers = (one.states, one.transitions, one.quiescent, one.farthest, one.longest)
        table.add_row(one.name, *map(_number, numbers))
    console.print(table, f"{seconds:.1f} s", sep="")
    for one in found:
        if one.violation:
            console.print(
                f"{one.name}: {one.violation}", "", *one.path_lines, sep="\n", markup=False, soft_wrap=True
            )
            console.print(f"\nReproduce: saga search --faults {one.name}", markup=False, soft_wrap=True)
        elif not one.complete:
            console.print(f"{one.name}: given up at {one.states:,} states; try a higher --limit")
    if all(one.complete for one in found):
        console.print("every order came to rest, and no promise is broken")


def _number(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"

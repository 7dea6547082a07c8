"""`saga chaos`: inject faults into a private system while orders are placed, then audit it."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from cli.chaos_report import print_report, to_json
from verification.chaos.faults import plan
from verification.chaos.run import Progress, run_chaos

FAULT_INTERVAL = 6.0
"""Seconds between two faults by default."""
PIPE_WIDTH = 110
"""Columns to print where no terminal sets them."""

EPILOG = """\b
Starts its own broker, database and services. Every part is killed, paused, stopped and cut off, broker and
database included; then all faults end, and when everything has come to rest, the audit judges all of it.

\b
The seed decides which order comes when and with which profile, and which part gets which fault when: the same
arguments give the same plan. What a fault hits depends on the machine, so no two runs are the same.

\b
Exit code 1 if a promise is broken, an order has not ended, a dead letter is left, or a part has ended
without a fault. The state is kept then, and the commands to inspect it are printed.

\b
Examples:
  saga chaos
  saga chaos --orders 5000 --minutes 10 --seed 7
"""


def chaos(
    orders: Annotated[int, typer.Option(min=1, metavar="N", help="How many orders to place.")] = 500,
    minutes: Annotated[float, typer.Option(min=0.2, max=24 * 60, metavar="M", help="For how long.")] = 2,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Decides the orders and the faults.")] = 1,
    faults: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="How many faults.  [default: one every 6 s]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Place orders while parts of a private system are killed, paused, stopped and cut off; then audit it."""
    directory = Path(tempfile.mkdtemp(prefix="saga-chaos-"))
    planned = plan(seed, minutes * 60, round(minutes * 60 / FAULT_INTERVAL) if faults is None else faults)
    ok = False
    try:
        with _progress(orders, len(planned)) as progress:
            report = asyncio.run(run_chaos(directory, orders, minutes * 60, seed, planned, progress))
        ok = report.ok
    finally:
        if ok:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            typer.echo(_how_to_inspect(directory), err=True)
    if as_json:
        typer.echo(json.dumps(to_json(report)))
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = PIPE_WIDTH
        print_report(console, report)
    if not ok:
        raise typer.Exit(1)


def _how_to_inspect(directory: Path) -> str:
    return (
        f"The state is kept in {directory}, the logs in {directory / 'logs'}. To inspect it:\n"
        f"  SAGA_STATE={directory} saga up       and in another terminal\n"
        f"  SAGA_STATE={directory} saga audit --all"
    )


class _ProgressBars:
    """Shows the progress of a run on the terminal."""

    def __init__(self, bars: Bars, orders: int, faults: int) -> None:
        self._bars = bars
        self._phase = bars.add_task("starting", total=None)
        self._orders = bars.add_task("orders accepted", total=orders)
        self._faults = bars.add_task("faults", total=faults)

    def phase(self, text: str) -> None:
        self._bars.update(self._phase, description=text)

    def order_accepted(self) -> None:
        self._bars.advance(self._orders)

    def fault_injected(self) -> None:
        self._bars.advance(self._faults)


@contextmanager
def _progress(orders: int, faults: int) -> Iterator[Progress]:
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield _ProgressBars(bars, orders, faults)

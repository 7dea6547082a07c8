"""`saga bench`: measure the saga and its peers on this machine."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from benchmarks.plan import QUICK, Plan
from benchmarks.run import Progress, run_bench
from cli.bench_plot import to_svg
from cli.bench_report import print_report, to_json

PLAN = Plan()
PIPE_WIDTH = 140
"""Columns to print where no terminal sets them."""
REFRESH_PER_SECOND = 2
"""The progress bar is drawn by the process whose CPU time counts as the client's."""

EPILOG = """\b
Starts its own broker, databases and services, and measures one system after the other, each with 200
products in 3 warehouses, two lines an order, and every tenth payment declined:
  counted      messages, documents, index entries, round trips and bytes a saga, by proxies on the wire:
               one saga after the other, and in a burst; these figures hold on any machine
  throughput   a burst of orders, published as fast as the broker takes them
  CPU          milliseconds a saga of that burst, user and system, by process
  latency      by offered rate, from the scheduled time to the last event, until the system falls behind

\b
Its peers run in the same way: a bare forwarder on aio-pika with the fewest writes, and a naive FastStream
saga (pip install -e '.[benchmarks]'). docs/performance.md says what each figure means.

\b
Every order is compared with how it has to end, and the audit judges the saga. Exit code 1 if anything does
not verify. Wall times need a quiet machine: the report says how much of it others have used.

\b
Examples:
  saga bench --quick
  saga bench --orders 1000 --rounds 3 --svg latency.svg
  saga bench --no-peers --rate 20 --rate 100 --seconds 60
  saga bench --json | jq '.systems[0].cpuMilliseconds'
"""


def bench(
    orders: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="Orders of the burst.")] = (
        PLAN.orders
    ),
    rates: Annotated[
        list[float] | None,
        typer.Option(
            "--rate",
            min=0.1,
            max=10_000,
            metavar="R",
            help=f"Orders a second to offer; may be repeated.  [default: {', '.join(map(str, PLAN.rates))}]",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.5, max=3600, metavar="S", help="How long each rate is offered.")
    ] = PLAN.seconds,
    rounds: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="Measure all systems so often in turn; medians.")
    ] = PLAN.rounds,
    replicas: Annotated[
        int, typer.Option(min=1, max=10, metavar="N", help="Processes of each of the saga's services.")
    ] = PLAN.replicas,
    peers: Annotated[bool, typer.Option(help="Measure the peers, too.")] = True,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A small run of half a minute, whatever --orders and --rate say."),
    ] = False,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the plot of latencies there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Measure throughput, latency and CPU of the saga and its peers, count what a saga costs, verify all."""
    plan = replace(PLAN, orders=orders, rates=sorted(rates or PLAN.rates), seconds=seconds, rounds=rounds)
    plan = replace(QUICK if quick else plan, replicas=replicas)
    directory = Path(tempfile.mkdtemp(prefix="saga-bench-"))
    try:
        with _progress() as progress, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            report = runner.run(run_bench(directory, plan, peers, progress))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if svg:
        svg.write_text(to_svg(report), "utf-8")
    if as_json:
        typer.echo(json.dumps(to_json(report)))
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = PIPE_WIDTH
        print_report(console, report)
    if not report.ok:
        raise typer.Exit(1)


class _ProgressBar:
    """Shows the phase of a run, and how many of its orders have ended."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task = bars.add_task("starting", total=None)

    def phase(self, text: str, orders: int = 0) -> None:
        self._bars.reset(self._task, description=text, total=orders or None)

    def ended(self, count: int) -> None:
        self._bars.advance(self._task, count)


@contextmanager
def _progress() -> Iterator[Progress]:
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        refresh_per_second=REFRESH_PER_SECOND,
    ) as bars:
        yield _ProgressBar(bars)

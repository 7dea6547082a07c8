"""`saga chaos`: strikes a private system at random while orders are placed, and audits what is left."""

import asyncio
import json
import math
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.audit import databases_at
from cli.chaos_report import Outcome, print_outcome, to_json
from events.catalogue import SERVICES
from local_stack.process import ProcessFailed
from operations.broker_session import broker_session
from operations.client import Services
from operations.sample_stock import put
from verification.audit.auditor import audit_at_rest
from verification.audit.reader import Databases, reading
from verification.chaos.faults import Fault, plan
from verification.chaos.load import Workload, stock
from verification.chaos.victim import SystemUnderTest, victim

EVERY = 6.0
"""Seconds between two faults, where nobody says how many there are to be."""
FIRST_RETRY_AFTER = 120.0
"""Seconds that the last customers try to be heard."""
REST_LIMIT = 600.0
"""Seconds without anything coming to rest: a message may pause for 300 before it is tried again."""
LOOK_EVERY = 1.0
READY_SECONDS = 60.0
PIPE_WIDTH = 110
"""Columns to print when no terminal says how many it has."""

EPILOG = """\b
Starts a broker, a database and the services of its own. Every part is killed, paused, stopped, and cut off,
broker and database included; then all faults are lifted, and when everything has come to rest, the audit
judges all of it.

\b
The seed decides which order comes when and in which way, and which part is struck when and how: the same
arguments give the same plan. What a strike meets is up to the machine, so no two runs are the same.

\b
Exit code 1 if any promise is broken, an order has not ended, a dead letter is left, or a part has ended
by itself. The state is kept then, and the way to look at it is printed.

\b
Examples:
  saga chaos
  saga chaos --orders 5000 --minutes 10 --seed 7
"""


def chaos(
    orders: Annotated[int, typer.Option(min=1, metavar="N", help="How many orders to place.")] = 500,
    minutes: Annotated[float, typer.Option(min=0.2, max=24 * 60, metavar="M", help="For how long.")] = 2,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="What is drawn, and when.")] = 1,
    faults: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="How many strikes.  [default: one every 6 s]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Place orders while parts of a private system are killed, paused, stopped and cut off; then audit it."""
    directory = Path(tempfile.mkdtemp(prefix="saga-chaos-"))
    console = Console(stderr=True, highlight=False)
    strikes = plan(seed, minutes * 60, round(minutes * 60 / EVERY) if faults is None else faults)
    ok = False
    try:
        outcome = asyncio.run(_chaos(directory, console, orders, minutes * 60, seed, strikes))
        ok = outcome.ok
    except ProcessFailed as error:
        typer.echo(f"saga: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        if ok:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            typer.echo(_look_again(directory), err=True)
    if as_json:
        typer.echo(json.dumps(to_json(outcome)))
    else:
        shown = Console(highlight=False)
        if not shown.is_terminal:
            shown.width = PIPE_WIDTH
        print_outcome(shown, outcome)
    if not ok:
        raise typer.Exit(1)


def _look_again(directory: Path) -> str:
    return (
        f"The state is kept in {directory}, the logs in {directory / 'logs'}. To look again:\n"
        f"  SAGA_STATE={directory} saga up       and in another terminal\n"
        f"  SAGA_STATE={directory} saga audit --all"
    )


async def _chaos(
    directory: Path, console: Console, orders: int, seconds: float, seed: int, strikes: Sequence[Fault]
) -> Outcome:
    started = monotonic()
    with _progress(console) as progress:
        said = progress.add_task("starting", total=None)
        async with victim(directory, lambda what: progress.update(said, description=what)) as struck:
            at = struck.stack.endpoints
            databases = databases_at(struck.database_url)
            async with Services(at) as services:
                await services.ready(READY_SECONDS)
                await put(services, stock())
                load = Workload(services, at, orders, seconds, seed)
                progress.update(said, description="placing orders, striking")
                await _storm(struck, load, strikes, progress)
                faults_over = monotonic()
                progress.update(said, description="waiting until all is at rest")
                left = await _rest(databases, len(load.accepted), progress)
                rest = monotonic() - faults_over
                progress.update(said, description="auditing")
                report = await asyncio.to_thread(audit_at_rest, databases, None, list(load.accepted))
                letters = await _dead_letters(struck.broker_url)
                ways = await asyncio.to_thread(_ends, databases, load.accepted)
        return Outcome(
            accepted=len(load.accepted),
            ways=ways,
            strikes=struck.strikes,
            planned=len(strikes),
            report=report,
            dead_letters=letters,
            problems=[*struck.problems, *load.refused, *left],
            rest=rest,
            seconds=monotonic() - started,
        )


async def _storm(
    struck: SystemUnderTest, load: Workload, strikes: Sequence[Fault], progress: Progress
) -> None:
    """Place the orders and carry out the faults; return when all of both are done with."""
    placing = progress.add_task("orders accepted", total=load.orders)
    striking = progress.add_task("faults", total=len(strikes))
    started = monotonic()

    async def strike(fault: Fault) -> None:
        await asyncio.sleep(started + fault.at - monotonic())
        await struck.strike(fault)
        progress.advance(striking)

    watching = asyncio.create_task(struck.watch())
    work = [asyncio.create_task(strike(fault)) for fault in strikes]
    work.append(asyncio.create_task(load.run(lambda: progress.advance(placing), FIRST_RETRY_AFTER)))
    try:
        await asyncio.gather(*work)
    finally:
        for task in (*work, watching):
            task.cancel()
        await asyncio.gather(*work, watching, return_exceptions=True)


async def _rest(databases: Databases, accepted: int, progress: Progress) -> list[str]:
    """Wait until nothing is under way any more; return what still is once it has stopped getting less."""
    waiting = progress.add_task("waits for", total=None)
    least, since = math.inf, monotonic()
    with reading(databases) as reader:
        while True:
            looked = monotonic()
            left = await asyncio.to_thread(reader.unfinished)
            left["orders nobody knows yet"] = max(0, accepted - await asyncio.to_thread(reader.orders))
            told = ", ".join(f"{count} {name}" for name, count in left.items() if count)
            if not told:
                return []
            if left.total() < least:
                least, since = left.total(), monotonic()
            elif monotonic() - since > REST_LIMIT:
                return [f"not at rest, and for {REST_LIMIT:g} s no closer to it: {told}"]
            progress.update(waiting, description=f"waits for {told}")
            # Looking costs the database something, too, and must not keep it from what is looked for.
            await asyncio.sleep(max(LOOK_EVERY, 10 * (monotonic() - looked)))


async def _dead_letters(broker_url: str) -> dict[str, int]:
    """Return how many messages each service has put away, as far as it has any."""
    queues = {f"{service}.dead": service for service in SERVICES}
    async with broker_session(broker_url) as session:
        depths = await session.depths(list(queues))
    return {queues[queue]: count for queue, count in depths.items() if count}


def _ends(databases: Databases, accepted: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Return how the accepted orders ended, by the way they were placed in."""
    ends: dict[str, Counter[str]] = defaultdict(Counter)
    with reading(databases) as reader:
        for row in reader.some(accepted):
            ends[accepted[row.case.order_id]][
                row.case.order.state.status if row.case.order else "unknown"
            ] += 1
    return dict(ends)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

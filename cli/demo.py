"""`saga demo`: plays every story on a real stack, then many orders at once, and checks the books."""

import asyncio
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console

from cli.audit import databases_at, reachable
from cli.console import run
from cli.demo_report import Report, to_json
from cli.demo_summary import print_report, print_story, say
from cli.up import shown
from local_stack.process import ProcessFailed
from local_stack.stack import Stack
from operations.client import Services
from operations.endpoints import Endpoints, find, named_by_environment, running_endpoints, state_directory
from operations.event_tap import recording
from operations.sample_stock import put
from verification.audit.judge import Report as Audit
from verification.audit.judge import audit_at_rest
from verification.audit.reading import Scope
from verification.scenarios.books import Books, read_books
from verification.scenarios.burst import LoadTest, play_at_once
from verification.scenarios.stories import ONE_OF_MANY, STORIES, DemoRun, Outcome, play, stock_for

READY_SECONDS = 30.0
PIPE_WIDTH = 110
"""Columns to print when no terminal says how many it has."""

EPILOG = """\b
Uses the stack of a running `saga up`, or the one that ORDER_URL, INVENTORY_URL, PAYMENT_URL and
RABBITMQ_URL name; otherwise it starts one and stops it at the end.

\b
Exit code 0 only if every order ended as expected and the books balance.

\b
Examples:
  saga demo
  saga demo --orders 1000 --timeout 300
  saga demo --json
"""


def demo(
    orders: Annotated[int, typer.Option(min=1, metavar="N", help="How many orders to place at once.")] = 200,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long to wait for the orders to end.")
    ] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Play every story on a real stack, then many orders at once, and check the books."""
    started = monotonic()
    console = Console(quiet=as_json)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    with _stack(console) as (endpoints, state):
        report = run(_demo(endpoints, console, orders, timeout))
    seconds = monotonic() - started
    if as_json:
        typer.echo(json.dumps(to_json(report, seconds, state)))
    else:
        print_report(console, report, seconds, state)
    if report.problems:
        raise typer.Exit(1)


@contextmanager
def _stack(console: Console) -> Iterator[tuple[Endpoints, str]]:
    """Use the stack that is named or running, or start one for as long as the block lasts.

    Yields where it is, and in words where its state is.
    """
    if named_by_environment():
        yield _found(console), "kept by the services that were named"
        return
    if running_endpoints(state_directory()):
        yield _found(console), f"kept by the stack that runs in {state_directory().resolve()}"
        return
    stack = Stack(state_directory())
    try:
        yield _started(stack, console), _place(stack)
    finally:
        stack.stop()


def _found(console: Console) -> Endpoints:
    found = find()
    say(console, f"using the services at {found.order}, {found.inventory} and {found.payment} ...")
    return found


def _started(stack: Stack, console: Console) -> Endpoints:
    """Start a stack.

    Raises:
        typer.Exit: it did not come up; what to do is told.
    """
    try:
        return stack.start(report=lambda what: say(console, f"{what} ..."))
    except ProcessFailed as error:
        typer.echo(f"saga: {error}", err=True)
        raise typer.Exit(1) from None


def _place(stack: Stack) -> str:
    """Say where a started stack keeps its state."""
    if stack.database is None:
        return f"kept in the database at {shown(stack.endpoints.mongodb)}, the logs in {stack.logs_dir}"
    return f"kept in {stack.state_dir}, the logs in {stack.logs_dir}"


async def _demo(endpoints: Endpoints, console: Console, orders: int, timeout: float) -> Report:
    async with Services(endpoints) as services:
        await services.ready(READY_SECONDS)
        stage = DemoRun(services, endpoints, f"demo-{secrets.token_hex(3)}", timeout)
        await put(services, stock_for(stage, orders))
        before = await _books(stage)
        outcomes = await _play_all(stage, console)
        burst = await play_at_once(stage, orders, console)
        after = await _books(stage)
        return Report(stage, outcomes, burst, before, after, await _audit(stage, outcomes, burst))


async def _play_all(stage: DemoRun, console: Console) -> list[Outcome]:
    """Play all stories at the same time, and print them in order."""
    async with recording(stage.endpoints.rabbitmq, "#") as recorder:
        plays = [asyncio.create_task(play(stage, story, recorder)) for story in STORIES]
        outcomes = []
        for number, running in enumerate(plays, start=1):
            outcomes.append(await running)
            print_story(console, number, outcomes[-1])
        return outcomes


async def _books(stage: DemoRun) -> Books:
    """Read the books of what the demo sells."""
    return await read_books(stage.services, _products(stage))


async def _audit(stage: DemoRun, outcomes: Iterable[Outcome], burst: LoadTest) -> Audit | None:
    """Audit the demo's own orders, and the stock that only they draw on."""
    if named_by_environment() and not os.environ.get("MONGODB_URL"):
        return None
    mine = [*(outcome.order_id for outcome in outcomes if outcome.order_id), *burst.order_ids]
    scope = Scope(mine, _products(stage))
    databases = databases_at(stage.endpoints.mongodb)
    with reachable(databases):
        return await asyncio.to_thread(audit_at_rest, databases, scope)


def _products(stage: DemoRun) -> list[str]:
    names = {name for story in (*STORIES, ONE_OF_MANY) for name in story.takes}
    return [stage.product(name) for name in sorted(names)]

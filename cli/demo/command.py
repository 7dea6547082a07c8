"""`saga demo`: plays every scenario on a real stack, then many orders at once, and audits what is stored."""

import asyncio
import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from cli.audit import reachable
from cli.console import print_plain
from cli.demo.printing import print_report, print_scenario
from cli.demo.report import DemoReport, to_json
from local_stack.stack import Stack
from operations.client import SagaClient
from operations.endpoints import (
    Endpoints,
    databases_named_by_environment,
    find,
    named_by_environment,
    running_endpoints,
    state_directory,
    without_password,
)
from operations.event_tap import recording
from operations.sample_stock import put
from verification.audit.auditor import audit_at_rest
from verification.audit.reader import Scope, databases_at
from verification.audit.report import AuditReport
from verification.scenarios import load_test
from verification.scenarios.load_test import LoadTest, play_at_once
from verification.scenarios.scenario import ScenarioResult, ScenarioRun, play
from verification.scenarios.table import SCENARIOS, stock_for

READY_SECONDS = 30.0
PIPE_WIDTH = 110
"""Columns to print if no terminal says how many it has."""

EPILOG = """\b
The demo uses the services that ORDER_URL, INVENTORY_URL, PAYMENT_URL and RABBITMQ_URL name, or those of a
running `saga up`. Otherwise it starts a stack and stops it at the end.

\b
The exit code is 0 only if every order ended as expected and the audit finds nothing wrong.

\b
Examples:
  saga demo
  saga demo --orders 1000 --timeout 300
  saga demo --json
"""


def demo(
    orders: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many orders to place at once after the scenarios.")
    ] = 200,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long to wait for an order to end.")
    ] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Play every scenario on a real stack, then many orders at once, and audit what is stored."""
    started = monotonic()
    console = Console(quiet=as_json)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    with _stack(console) as (endpoints, state):
        report = asyncio.run(_demo(endpoints, console, orders, timeout))
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

    Yields its endpoints, and in words where its state is.
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
    print_plain(console, f"using the services at {found.order}, {found.inventory} and {found.payment} ...")
    return found


def _started(stack: Stack, console: Console) -> Endpoints:
    return stack.start(report=lambda what: print_plain(console, f"{what} ..."))


def _place(stack: Stack) -> str:
    """Say where a started stack keeps its state."""
    servers = [
        f"the database at {without_password(url)}"
        for url in dict.fromkeys(
            url
            for service, url in stack.endpoints.mongodb_by_service.items()
            if service not in stack.databases
        )
    ]
    private = [str(stack.state_dir)] if stack.databases else []
    return f"kept in {' and '.join([*private, *servers])}, the logs in {stack.logs_dir}"


async def _demo(endpoints: Endpoints, console: Console, orders: int, timeout: float) -> DemoReport:
    async with SagaClient(endpoints) as services:
        await services.ready(READY_SECONDS)
        run = ScenarioRun(services, endpoints, f"demo-{secrets.token_hex(3)}", timeout)
        await put(services, [*stock_for(run), *load_test.stock_for(run, orders)])
        results = await _play_all(run, console)
        with Progress(console=console) as progress:
            task = progress.add_task(f"{orders} orders at once", total=orders)
            many = await play_at_once(run, orders, partial(progress.advance, task))
        return DemoReport(endpoints, results, many, await _audit(run, results, many))


async def _play_all(run: ScenarioRun, console: Console) -> list[ScenarioResult]:
    """Play all scenarios at the same time, and print them in order."""
    async with recording(run.endpoints.rabbitmq, "#") as recorder:
        plays = [asyncio.create_task(play(run, scenario, recorder)) for scenario in SCENARIOS]
        results = []
        for number, playing in enumerate(plays, start=1):
            results.append(await playing)
            print_scenario(console, number, results[-1])
        return results


async def _audit(run: ScenarioRun, results: Iterable[ScenarioResult], many: LoadTest) -> AuditReport | None:
    """Audit the demo's own orders, and the stock that only they draw on."""
    if named_by_environment() and not databases_named_by_environment():
        return None
    orders = [*(result.order_id for result in results if result.order_id), *many.order_ids]
    products = [run.product(name) for name in (*(one.product for one in SCENARIOS), load_test.PRODUCT)]
    databases = databases_at(run.endpoints.mongodb_by_service)
    with reachable(databases):
        return await asyncio.to_thread(audit_at_rest, databases, Scope(orders, products))

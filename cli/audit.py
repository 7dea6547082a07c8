"""`saga audit`: check every promise on what the three services have stored."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from cli.audit_findings import describe, to_json
from cli.console import print_plain
from operations.endpoints import find, without_password
from operations.errors import CommandFailed
from saga.errors import Unavailable
from saga.mongodb.errors import explain_driver_errors
from verification.audit.auditor import audit
from verification.audit.reader import Databases, databases_at

SETTLED_FOR = 30.0

EPILOG = """\b
Reads the databases at MONGODB_URL, else those of a running `saga up`, under the names that the services use
(ORDER_DATABASE, INVENTORY_DATABASE, PAYMENT_DATABASE). A database on a server of its own is named by
ORDER_MONGODB_URL, INVENTORY_MONGODB_URL or PAYMENT_MONGODB_URL. Never writes.

\b
While the system runs, an order is judged once nothing about it has changed for a while, and what is only
unfinished counts once it is overdue: 5 minutes past an order's deadline. With --all, everything is judged,
and what is unfinished counts at once: use it on a system that has come to rest.

\b
Exit code 1 if a promise is broken. Orders that wait for an operator to settle the refund are listed
separately, and so is the number of refused requests whose order is unknown.

\b
Examples:
  saga audit
  saga audit --all
  saga audit --json | jq .violations
"""


def audit_command(
    settled_for: Annotated[
        float,
        typer.Option(
            min=1, metavar="SECONDS", help="Judge an order once nothing about it has changed for this long."
        ),
    ] = SETTLED_FOR,
    everything: Annotated[
        bool, typer.Option("--all", help="Judge everything: for a system that has come to rest.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Check every promise on what the three services have stored, and list what breaks one."""
    databases = databases_at(find().mongodb_by_service)
    console = Console(highlight=False)
    with _progress(Console(stderr=True), hidden=as_json) as progress, reachable(databases):
        report = audit(
            databases,
            settled_for=timedelta(seconds=settled_for),
            at_rest=everything,
            progress=_advance(progress),
        )
    if as_json:
        typer.echo(json.dumps(to_json(report)))
    else:
        print_plain(console, *describe(report))
    if not report.ok:
        raise typer.Exit(1)


@contextmanager
def reachable(databases: Databases) -> Iterator[None]:
    """Turn the driver's errors into one line.

    Raises:
        CommandFailed: the database cannot be read.
    """
    try:
        with explain_driver_errors(f"cannot read {', '.join(map(without_password, databases.urls))}"):
            yield
    except Unavailable as why:
        raise CommandFailed(str(why)) from None


def _progress(console: Console, *, hidden: bool) -> Progress:
    columns = (TextColumn("documents"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal)


def _advance(progress: Progress) -> Callable[[int, int], None]:
    task = progress.add_task("documents")
    return lambda done, total: progress.update(task, completed=done, total=total)

"""`saga up`: runs the whole system in the foreground."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from events.catalogue import short_name
from local_stack.stack import Stack
from operations.endpoints import Endpoints, login_hint, without_password

PIPE_WIDTH = 120
"""Columns to print if no terminal says how many it has."""


def up(
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the URLs as one line of JSON; the services log to stderr."),
    ] = False,
) -> None:
    """Run RabbitMQ, the three services and a database for each until Ctrl-C.

    Set RABBITMQ_URL or MONGODB_URL to use a broker or a database server of your own instead of private ones.
    State and logs are kept in the directory SAGA_STATE, by default `.saga`.
    """
    progress = Console(stderr=True)
    stack = Stack(logs_to_stderr=as_json)
    try:
        _start(stack, progress)
        _show(stack, as_json)
        stack.watch()
    except KeyboardInterrupt:
        progress.print("stopping", style="dim")
    finally:
        stack.stop()


def _start(stack: Stack, progress: Console) -> None:
    with progress.status("starting") as status:
        stack.start(report=status.update)


def _show(stack: Stack, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps({name: without_password(url) for name, url in asdict(stack.endpoints).items()}),
            flush=True,
        )
        return
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(_table(stack.endpoints, str(stack.logs_dir)))
    console.print("Ctrl-C stops everything.", style="dim")


def _databases(at: Endpoints) -> dict[str, str]:
    """Return a row for each database, or for the one server that they share."""
    urls = {short_name(name): without_password(url) for name, url in at.mongodb_by_service.items()}
    if len({*urls.values()}) == 1:
        return {"MongoDB": urls["order"]}
    return {f"{name.capitalize()} database": url for name, url in urls.items()}


def _table(at: Endpoints, logs: str) -> Table:
    table = Table(title="The saga is up", title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in {**where_to_look(at), "Logs": logs}.items():
        table.add_row(name, escape(value))
    return table


def where_to_look(at: Endpoints) -> dict[str, str]:
    """Return the name and the address of each part, without passwords."""
    return {
        "Order API": at.order,
        "Order API, try it out": f"{at.order}/docs",
        "Inventory API": at.inventory,
        "Payment API": at.payment,
        "RabbitMQ management": f"{at.management} ({login_hint(at.rabbitmq)})",
        "RabbitMQ": without_password(at.rabbitmq),
        **_databases(at),
    }

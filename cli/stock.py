"""`saga stock`: shows, sets, exports and imports stock levels."""

import asyncio
import json
from functools import partial
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from operations import stock_file
from operations.client import Json, SagaClient
from operations.endpoints import find

app = typer.Typer(help="Show, set, export and import stock levels.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(epilog="Example: saga stock show --product tea")
def show(
    product: Annotated[str | None, typer.Option(metavar="SKU", help="Only this product.")] = None,
    warehouse: Annotated[str | None, typer.Option(metavar="ID", help="Only this warehouse.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print stock levels: units available, reserved for open orders, allocated to confirmed orders."""
    asyncio.run(_show(product, warehouse, as_json))


@app.command("set", epilog="Example: saga stock set berlin tea 100")
def set_level(
    warehouse: Annotated[str, typer.Argument(metavar="WAREHOUSE", help="The warehouse's id.")],
    product: Annotated[str, typer.Argument(metavar="SKU", help="The product's id.")],
    available: Annotated[int, typer.Argument(metavar="UNITS", min=0, help="Units available from now on.")],
    as_json: AsJson = False,
) -> None:
    """Set how many units are available; reserved and allocated units stay as they are."""
    asyncio.run(_set(warehouse, product, available, as_json))


EXPORT_EXAMPLE = "Example: saga stock export stock.csv --warehouse berlin"


@app.command("export", epilog=EXPORT_EXAMPLE)
def export_levels(
    file: Annotated[
        typer.FileTextWrite, typer.Argument(help="The file to write; - is standard output.")
    ] = "-",  # type: ignore[assignment]
    warehouse: Annotated[str | None, typer.Option(metavar="ID", help="Only this warehouse.")] = None,
) -> None:
    """Write stock levels as CSV, one line for each product at each warehouse."""
    stock_file.write(asyncio.run(_levels(warehouse)), file)


IMPORT_EXAMPLES = """\b
The first line names the columns: warehouseId, productId, available, and optionally version. A level with a
version is only set if it has not changed since its export. If any line is invalid, nothing is imported.

\b
Example:
  saga stock export stock.csv
  saga stock import stock.csv
"""


@app.command("import", epilog=IMPORT_EXAMPLES)
def import_levels(
    file: Annotated[typer.FileText, typer.Argument(help="The file to read; - is standard input.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also set levels that have changed since the export.")
    ] = False,
) -> None:
    """Set available units from a CSV file; exit code 1 if a level was rejected."""
    rejected = asyncio.run(_import(file, force))
    for one in rejected:
        typer.echo(f"saga: {one.line.product_id} at {one.line.warehouse_id}: {one.reason}", err=True)
    if rejected:
        raise typer.Exit(1)


def level_table(levels: list[Json]) -> Table:
    """Return a table of stock levels, one row for each."""
    table = Table(box=None, header_style="")
    for name in ("warehouse", "product"):
        table.add_column(name, overflow="fold")
    for name in ("available", "reserved", "allocated"):
        table.add_column(name, justify="right")
    for level in levels:
        counts = (str(level[name]) for name in ("available", "reserved", "allocated"))
        table.add_row(level["warehouseId"], level["productId"], *counts)
    return table


async def _show(product: str | None, warehouse: str | None, as_json: bool) -> None:
    async with SagaClient(find()) as services:
        levels = await services.stock(product, warehouse)
    _print(levels, json.dumps({"stock": levels}) if as_json else None)


async def _levels(warehouse: str | None) -> list[Json]:
    async with SagaClient(find()) as services:
        return await services.stock(None, warehouse)


async def _import(file: TextIO, force: bool) -> list[stock_file.RejectedLine]:
    lines = stock_file.read(file)
    if force:
        lines = [line.model_copy(update={"version": None}) for line in lines]
    async with SagaClient(find()) as services:
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task(f"{len(lines)} levels", total=len(lines))
            return await stock_file.send(services, lines, partial(progress.advance, task))


async def _set(warehouse: str, product: str, available: int, as_json: bool) -> None:
    async with SagaClient(find()) as services:
        level = await services.set_stock(warehouse, product, available)
    _print([level], json.dumps(level) if as_json else None)


def _print(levels: list[Json], text: str | None) -> None:
    if text is not None:
        typer.echo(text)
    elif levels:
        Console().print(level_table(levels))
    else:
        typer.echo("no stock; create some with `saga seed`")

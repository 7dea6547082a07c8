"""`saga stock`: see and set how many units of a product a warehouse has."""

import json
from functools import partial
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.console import run
from operations import stock_file
from operations.client import Json, Services
from operations.endpoints import find

app = typer.Typer(help="See and set how many units of a product a warehouse has.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(epilog="Example: saga stock show --product tea")
def show(
    product: Annotated[str | None, typer.Option(metavar="SKU", help="Only this product.")] = None,
    warehouse: Annotated[str | None, typer.Option(metavar="ID", help="Only this warehouse.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the stock: available, reserved for orders under way, allocated to confirmed orders."""
    run(_show(product, warehouse, as_json))


@app.command("set", epilog="Example: saga stock set berlin tea 100")
def set_level(
    warehouse: Annotated[str, typer.Argument(metavar="WAREHOUSE", help="The warehouse's id.")],
    product: Annotated[str, typer.Argument(metavar="SKU", help="The product's id.")],
    available: Annotated[int, typer.Argument(metavar="UNITS", min=0, help="Units available from now on.")],
    as_json: AsJson = False,
) -> None:
    """Set how many units are available; what is reserved or allocated stays as it is."""
    run(_set(warehouse, product, available, as_json))


EXPORT_EXAMPLE = "Example: saga stock export stock.csv --warehouse berlin"


@app.command("export", epilog=EXPORT_EXAMPLE)
def export_levels(
    file: Annotated[typer.FileTextWrite, typer.Argument(help="Where to; - is standard output.")] = "-",  # type: ignore[assignment]
    warehouse: Annotated[str | None, typer.Option(metavar="ID", help="Only this warehouse.")] = None,
) -> None:
    """Write the stock as CSV, a line for each product at each warehouse."""
    stock_file.write(run(_levels(warehouse)), file)


IMPORT_EXAMPLES = """\b
The first line names the columns: warehouseId, productId, available, and version if a level must not have
changed since it was exported. Nothing is sent unless every line can be read.

\b
Example:
  saga stock export stock.csv
  saga stock import stock.csv
"""


@app.command("import", epilog=IMPORT_EXAMPLES)
def import_levels(
    file: Annotated[typer.FileText, typer.Argument(help="Where from; - is standard input.")],
    force: Annotated[
        bool, typer.Option("--force", help="Set levels that have changed since the export, too.")
    ] = False,
) -> None:
    """Set what is available from a CSV file; exit code 1 if a level was refused."""
    rejected = run(_import(file, force))
    for one in rejected:
        typer.echo(f"saga: {one.line.product_id} at {one.line.warehouse_id}: {one.reason}", err=True)
    if rejected:
        raise typer.Exit(1)


def level_table(levels: list[Json]) -> Table:
    """Lay out stock levels, a row each."""
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
    async with Services(find()) as services:
        levels = await services.stock(product, warehouse)
    _print(levels, json.dumps({"stock": levels}) if as_json else None)


async def _levels(warehouse: str | None) -> list[Json]:
    async with Services(find()) as services:
        return await services.stock(None, warehouse)


async def _import(file: TextIO, force: bool) -> list[stock_file.RejectedLine]:
    lines = stock_file.read(file)
    if force:
        lines = [line.model_copy(update={"version": None}) for line in lines]
    async with Services(find()) as services:
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task(f"{len(lines)} levels", total=len(lines))
            return await stock_file.send(services, lines, partial(progress.advance, task))


async def _set(warehouse: str, product: str, available: int, as_json: bool) -> None:
    async with Services(find()) as services:
        level = await services.set_stock(warehouse, product, available)
    _print([level], json.dumps(level) if as_json else None)


def _print(levels: list[Json], text: str | None) -> None:
    if text is not None:
        typer.echo(text)
    elif levels:
        Console().print(level_table(levels))
    else:
        typer.echo("no stock; `saga seed` puts some there")

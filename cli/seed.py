"""`saga seed`: sample warehouses and stock to try things with."""

import json
from typing import Annotated

import typer

from cli.console import run
from operations.client import Services
from operations.endpoints import find
from operations.sample_stock import UNITS, WAREHOUSES, put


def seed(
    restock: Annotated[
        bool, typer.Option("--restock", help="Also set the levels that exist back to the sample's.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Create sample warehouses with locations and stock; what is already there stays as it is."""
    run(_seed(restock, as_json))


async def _seed(restock: bool, as_json: bool) -> None:
    async with Services(find()) as services:
        there = (
            set() if restock else {(one["warehouseId"], one["productId"]) for one in await services.stock()}
        )
        levels = [
            (warehouse["warehouseId"], product, units)
            for warehouse in WAREHOUSES
            for product, units in UNITS.items()
            if (warehouse["warehouseId"], product) not in there
        ]
        await put(services, levels)
    warehouses = [warehouse["warehouseId"] for warehouse in WAREHOUSES]
    if as_json:
        typer.echo(json.dumps({"warehouses": warehouses, "products": list(UNITS), "levelsSet": len(levels)}))
    else:
        typer.echo(
            f"warehouses: {', '.join(warehouses)}; products: {', '.join(UNITS)}; {len(levels)} levels set"
        )

"""`saga seed`: creates sample warehouses and stock."""

import asyncio
import json
from typing import Annotated

import typer

from operations.client import SagaClient
from operations.endpoints import find
from operations.sample_stock import UNITS, WAREHOUSES, put


def seed(
    restock: Annotated[
        bool, typer.Option("--restock", help="Also reset existing stock to the sample's.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Create sample warehouses with locations and stock; existing stock stays as it is."""
    asyncio.run(_seed(restock, as_json))


async def _seed(restock: bool, as_json: bool) -> None:
    async with SagaClient(find()) as services:
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

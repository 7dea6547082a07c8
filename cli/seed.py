"""`saga seed`: sample warehouses and stock to try things with."""

import asyncio
import json
from typing import Annotated

import typer

from cli.client import Json, Services, run
from cli.endpoints import find

WAREHOUSES: tuple[Json, ...] = (
    {"warehouseId": "berlin", "name": "Berlin", "location": {"latitude": 52.52, "longitude": 13.40}},
    {"warehouseId": "amsterdam", "name": "Amsterdam", "location": {"latitude": 52.37, "longitude": 4.90}},
    {"warehouseId": "madrid", "name": "Madrid", "location": {"latitude": 40.42, "longitude": -3.70}},
)
UNITS = {"tea": 1000, "coffee": 1000, "kettle": 50, "lamp": 5}
"""Units of each sample product in each warehouse."""

Level = tuple[str, str, int]
"""Warehouse, product, units available."""


def seed(
    restock: Annotated[
        bool, typer.Option("--restock", help="Also set the levels that exist back to the sample's.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Create sample warehouses with locations and stock; what is already there stays as it is."""
    run(_seed(restock, as_json))


async def put(services: Services, levels: list[Level]) -> None:
    """Create the sample warehouses, and set stock levels in them."""
    await services.put_warehouses(WAREHOUSES)
    await asyncio.gather(*(services.set_stock(*level) for level in levels))


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

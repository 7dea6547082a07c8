"""Sample warehouses and stock."""

import asyncio

from operations.client import Json, SagaClient

WAREHOUSES: tuple[Json, ...] = (
    {"warehouseId": "berlin", "name": "Berlin", "location": {"latitude": 52.52, "longitude": 13.40}},
    {"warehouseId": "amsterdam", "name": "Amsterdam", "location": {"latitude": 52.37, "longitude": 4.90}},
    {"warehouseId": "madrid", "name": "Madrid", "location": {"latitude": 40.42, "longitude": -3.70}},
)
UNITS = {"tea": 1000, "coffee": 1000, "kettle": 50, "lamp": 5}
"""Units of each sample product in each warehouse."""

InitialLevel = tuple[str, str, int]
"""Warehouse, product, units available."""


async def put(services: SagaClient, levels: list[InitialLevel]) -> None:
    """Create the sample warehouses, and set stock levels in them."""
    await services.put_warehouses(WAREHOUSES)
    await asyncio.gather(*(services.set_stock(*level) for level in levels))

"""What the inventory service needs of a store beyond what every application does."""

from collections.abc import Collection, Sequence
from typing import Protocol

from inventory_service.stock import Level, Warehouse


class StockStore(Protocol):
    """The stock levels and the warehouses, as the HTTP API reads and changes them."""

    async def levels(
        self, product_ids: Collection[str] | None = None, warehouse_id: str | None = None
    ) -> list[Level]:
        """Return the levels of these products (None: of all), at one warehouse or at all."""

    async def set_level(
        self, warehouse_id: str, product_id: str, units: int, version: int | None
    ) -> Level | None:
        """Set what is available; with a version, only if it is still that one, else return None."""

    async def warehouses(self) -> list[Warehouse]:
        """Return every warehouse."""

    async def set_warehouses(self, warehouses: Sequence[Warehouse]) -> None:
        """Add these warehouses, or change them."""

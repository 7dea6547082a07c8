"""What the order service needs of a store beyond what every application does."""

from collections.abc import Collection
from decimal import Decimal
from typing import Protocol

from order_service.order import Order, OrderStatus
from saga.reactions.unit_of_work import LoadedAggregate


class OrderQueries(Protocol):
    """What the HTTP API asks about the orders."""

    async def fetch(self, keys: Collection[str]) -> dict[str, LoadedAggregate[Order]]:
        """Return an entry for each key, an empty one for what does not exist."""

    async def find(self, status: OrderStatus | None, limit: int) -> list[Order]:
        """Return the newest orders, in one status or in all."""

    async def books(self) -> list[tuple[str, Decimal, int]]:
        """Return currency, sum and number of the confirmed orders."""

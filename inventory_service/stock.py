"""Stock and warehouses, as the reactions see them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from events.types import Count, Id
from events.values import HeldLine, Item, Location, Model

StockKey = tuple[str, str]
"""A warehouse and a product."""


class Warehouse(Model):
    """A place that holds stock."""

    warehouse_id: Id
    name: Annotated[str, Field(max_length=200)] | None = None
    location: Location


class Level(Model):
    """The units of one product at one warehouse: available, reserved for orders that may still fail, and
    allocated to orders that are paid.

    `owned` is the sum of the three. It changes only when a client sets the level, so that the others can be
    checked against it.
    """

    warehouse_id: Id
    product_id: Id
    available: Count = 0
    reserved: Count = 0
    allocated: Count = 0
    owned: Count = 0
    version: Count = 0

    @property
    def key(self) -> StockKey:
        """The warehouse and the product."""
        return self.warehouse_id, self.product_id


@dataclass(frozen=True, slots=True)
class StockMove:
    """A change of one level; the three numbers add up to zero."""

    key: StockKey
    available: int = 0
    reserved: int = 0
    allocated: int = 0


def stock_moves(
    lines: Iterable[HeldLine], *, available: int = 0, reserved: int = 0, allocated: int = 0
) -> list[StockMove]:
    """Return a move for each line; the numbers say what a unit of it adds to or takes from the level."""
    return [
        StockMove(
            (line.warehouse_id, line.product_id),
            available * line.quantity,
            reserved * line.quantity,
            allocated * line.quantity,
        )
        for line in lines
    ]


@dataclass
class Stock:
    """The levels of some products (None: of all), with what a batch has moved so far."""

    products: Collection[str] | None = None
    available: dict[StockKey, int] = field(default_factory=dict)
    warehouses: Mapping[str, Warehouse] = field(default_factory=dict)
    moved: dict[StockKey, Counter[str]] = field(default_factory=dict)

    def knows(self, product_id: str) -> bool:
        """Return whether any warehouse has a level for this product.

        Raises:
            LookupError: its levels were not loaded: a plan would take it for unknown.
        """
        if self.products is not None and product_id not in self.products:
            raise LookupError(f"the levels of {product_id} were not loaded")
        return any(product == product_id for _, product in self.available)

    def suffices(self, items: Iterable[Item]) -> bool:
        """Return whether there is as much as all of these together need, where they name it or anywhere."""
        named, needed, found = Counter[StockKey](), Counter[str](), Counter[str]()
        for item in items:
            needed[item.product_id] += item.quantity
            if item.warehouse_id:
                named[item.warehouse_id, item.product_id] += item.quantity
        for (_, product), units in self.available.items():
            found[product] += units
        return needed <= found and all(
            self.available.get(key, 0) >= units and key[0] in self.warehouses for key, units in named.items()
        )

    def apply(self, moves: Iterable[StockMove]) -> None:
        """Apply moves, so that the next reaction of the batch sees them."""
        for move in moves:
            self.available[move.key] = self.available.get(move.key, 0) + move.available
            total = self.moved.setdefault(move.key, Counter())
            total["available"] += move.available
            total["reserved"] += move.reserved
            total["allocated"] += move.allocated

"""Stock and warehouses, as the reactions see them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from events.types import Count, Id
from events.values import Location, Model

StockKey = tuple[str, str]
"""A warehouse and a product."""


class Warehouse(Model):
    """A place that holds stock."""

    warehouse_id: Id
    name: Annotated[str, Field(max_length=200)] | None = None
    location: Location


class Level(Model):
    """The units of one product at one warehouse: free, held for orders that may still fail, and sold.

    `owned` are all that there are. It changes only when somebody sets the level, and is what the other three
    are checked against.
    """

    warehouse_id: Id
    product_id: Id
    available: Count = 0
    reserved: Count = 0
    allocated: Count = 0
    owned: Count = 0
    version: Count = 0

    @property
    def place(self) -> StockKey:
        return self.warehouse_id, self.product_id


@dataclass(frozen=True, slots=True)
class StockMove:
    """A change of one level; the three numbers add up to zero unless stock enters or leaves."""

    place: StockKey
    available: int = 0
    reserved: int = 0
    allocated: int = 0


@dataclass
class Stock:
    """The levels a batch may touch, with what the batch has moved so far."""

    available: dict[StockKey, int] = field(default_factory=dict)
    warehouses: Mapping[str, Warehouse] = field(default_factory=dict)
    moved: dict[StockKey, Counter[str]] = field(default_factory=dict)

    def knows(self, product_id: str) -> bool:
        """Return whether any warehouse has a level for this product."""
        return any(product == product_id for _, product in self.available)

    def apply(self, moves: Iterable[StockMove]) -> None:
        """Take the moves into account for whoever looks next."""
        for move in moves:
            self.available[move.place] = self.available.get(move.place, 0) + move.available
            total = self.moved.setdefault(move.place, Counter())
            total["available"] += move.available
            total["reserved"] += move.reserved
            total["allocated"] += move.allocated

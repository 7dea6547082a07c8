"""The books of stock and money, and whether they balance."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from events.catalogue import DEFAULT_CURRENCY
from events.types import format_money
from operations.client import Json, Services


@dataclass(frozen=True, slots=True)
class Level:
    """Units of one product in one warehouse."""

    available: int
    reserved: int
    allocated: int

    @property
    def total(self) -> int:
        return self.available + self.reserved + self.allocated


NOTHING = Level(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Books:
    """Stock by warehouse and product, and the money in the default currency."""

    stock: Mapping[tuple[str, str], Level]
    charged: Decimal
    refunded: Decimal
    confirmed: Decimal

    @property
    def kept(self) -> Decimal:
        """What was charged and not refunded."""
        return self.charged - self.refunded


async def read_books(services: Services, products: Collection[str]) -> Books:
    """Read the stock of some products, by id, and all of the money."""
    stock, payments, orders = await asyncio.gather(
        asyncio.gather(*(services.stock(product) for product in products)),
        services.payment_books(),
        services.confirmed_books(),
    )
    return Books(
        stock={(one["warehouseId"], one["productId"]): _level(one) for levels in stock for one in levels},
        charged=_amount(payments, "charged"),
        refunded=_amount(payments, "refunded"),
        confirmed=_amount(orders, "confirmed"),
    )


def stock_problems(before: Books, after: Books, sold: Mapping[str, int]) -> list[str]:
    """Compare the stock before and after; `sold` are units by product id."""
    problems = []
    grown: Counter[str] = Counter()
    for (warehouse, product), level in before.stock.items():
        now = after.stock.get((warehouse, product), NOTHING)
        grown[product] += now.allocated - level.allocated
        if now.total != level.total:
            problems.append(f"stock: {product} at {warehouse} was {level.total} units, is {now.total}")
        if now.reserved:
            problems.append(f"stock: {now.reserved} x {product} at {warehouse} are still reserved")
    for product, units in grown.items():
        if units != sold.get(product, 0):
            problems.append(f"stock: {units} x {product} were allocated, {sold.get(product, 0)} were sold")
    return problems


def money_problems(before: Books, after: Books, sold: Decimal) -> list[str]:
    """Compare the money kept, the orders confirmed and what was sold."""
    kept = after.kept - before.kept
    confirmed = after.confirmed - before.confirmed
    if kept == confirmed == sold:
        return []
    return [
        f"money: kept {format_money(kept)}, confirmed {format_money(confirmed)}, sold {format_money(sold)} "
        "should be equal (unless somebody else ordered meanwhile)"
    ]


def _level(level: Json) -> Level:
    return Level(level["available"], level["reserved"], level["allocated"])


def _amount(books: list[Json], name: str) -> Decimal:
    return sum((Decimal(book[name]) for book in books if book["currency"] == DEFAULT_CURRENCY), Decimal(0))

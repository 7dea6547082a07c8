"""What it costs that everybody wants the same: `python -m benchmarks.contention --units 400`.

Customers buy one unit after the other, each as soon as his last order has ended, until nothing is left; three
replicas of the inventory service share the work. First all of them buy one product, then each one of his own.
What is left of the speed, and how often a write lost against another, is the price of contention.
"""

import argparse
import asyncio
import re
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from local_stack.stack import Stack
from operations.client import Services
from operations.endpoints import Endpoints

CUSTOMERS = 32
REPLICAS = 3
WAREHOUSE = "berlin"
FIRST_RETRY_AFTER = 120.0
_CONFLICTS = re.compile(r'^saga_write_conflicts_total{service="inventory_service"} ([0-9.]+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sale:
    """What became of the orders, by their ids, and how many seconds all of it took."""

    ends: Mapping[str, str]
    seconds: float

    @property
    def sold(self) -> int:
        """How many orders were confirmed."""
        return sum(end == "confirmed" for end in self.ends.values())

    @property
    def rate(self) -> float:
        """Orders a second, those that found nothing left included."""
        return len(self.ends) / self.seconds


async def sell_out(services: Services, shares: Mapping[str, int], customers: int) -> Sale:
    """Put so many units of each product on the shelf, and let customers buy until nothing is left.

    With one product all buy it; with as many as there are customers, each buys one of his own.

    Raises:
        CommandFailed: an order has not ended in time.
    """
    await services.put_warehouses(
        [{"warehouseId": WAREHOUSE, "location": {"latitude": 52.5, "longitude": 13.4}}]
    )
    for product, units in shares.items():
        await services.set_stock(WAREHOUSE, product, units)
    ends: dict[str, str] = {}
    products = list(shares)
    started = time.monotonic()
    buying = (_buy(services, products[number % len(products)], ends) for number in range(customers))
    await asyncio.gather(*buying)
    return Sale(ends, time.monotonic() - started)


async def _buy(services: Services, product: str, ends: dict[str, str]) -> None:
    """Buy a unit after the other until there is none."""
    order = {
        "userId": "u-1",
        "items": [{"productId": product, "quantity": 1}],
        "totalAmount": "12.50",
    }
    while True:
        order_id = (await services.place(order))["orderId"]
        ends[order_id] = (await services.ended(order_id, FIRST_RETRY_AFTER))["status"]
        if ends[order_id] != "confirmed":
            return


async def conflicts(replicas: Sequence[str]) -> int:
    """Return how many steps these replicas of the inventory service have lost to another writer so far."""
    async with httpx.AsyncClient(trust_env=False) as http:
        pages = [(await http.get(f"{url}/metrics")).text for url in replicas]
    return sum(int(float(found)) for page in pages for found in _CONFLICTS.findall(page))


async def _compare(at: Endpoints, replicas: Sequence[str], units: int) -> None:
    run = secrets.token_hex(3)
    each = -(-units // CUSTOMERS)
    rates = []
    async with Services(at) as services:
        await sell_out(services, {f"warm-{run}": CUSTOMERS}, CUSTOMERS)
        for name, shares in (
            ("one product", {f"hot-{run}": units}),
            ("32 products", {f"own-{run}-{number}": each for number in range(CUSTOMERS)}),
        ):
            before = await conflicts(replicas)
            sale = await sell_out(services, shares, CUSTOMERS)
            lost = await conflicts(replicas) - before
            rates.append(sale.rate)
            print(
                f"{name}: {sale.rate:.1f} orders/s ({len(sale.ends)} in {sale.seconds:.1f} s, {sale.sold} of"
                f" {sum(shares.values())} sold), {lost} writes lost to another",
                flush=True,
            )
    print(f"one hot product is sold at {rates[0] / rates[1]:.2f} of the speed of 32 products")


def main() -> None:
    """Start a stack, sell, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=400, help="units to sell each time")
    units = parser.parse_args().units
    with tempfile.TemporaryDirectory() as directory, Stack(Path(directory)) as stack:
        further = [stack.start_replica("inventory_service") for _ in range(REPLICAS - 1)]
        replicas = [stack.endpoints.inventory, *further]
        asyncio.run(_compare(stack.endpoints, replicas, units))


if __name__ == "__main__":
    main()

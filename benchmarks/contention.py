"""What contention for one product costs: `python -m benchmarks.contention --units 400`.

Each customer buys one unit after another, as soon as the last order has ended, until the stock is sold. First
all customers buy one product, then each a product of its own; with one replica of the inventory service, and
with three that share the work. The ratios of rates and CPU times, and the number of write conflicts, are the
price of contention. The CPU time holds while other work is on the machine; the rates do not.
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

from benchmarks.processes import cpu_seconds
from local_stack.stack import Stack
from operations.client import SagaClient

CUSTOMERS = 32
REPLICAS = (1, 3)
WAREHOUSE = "berlin"
ORDER_TIMEOUT = 120.0
_CONFLICTS = re.compile(r'^saga_write_conflicts_total{service="inventory_service"} ([0-9.]+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sale:
    """The final status of each order, by id, and how many seconds all of them took."""

    ends: Mapping[str, str]
    seconds: float

    @property
    def sold(self) -> int:
        """The number of confirmed orders."""
        return sum(end == "confirmed" for end in self.ends.values())

    @property
    def rate(self) -> float:
        """Orders a second, including those that found no stock."""
        return len(self.ends) / self.seconds


async def sell_out(services: SagaClient, shares: Mapping[str, int], customers: int) -> Sale:
    """Stock so many units of each product, and let customers buy until all are sold.

    With one product, all customers buy it; with one for each customer, each buys its own.

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


async def _buy(services: SagaClient, product: str, ends: dict[str, str]) -> None:
    """Buy one unit after another until none is left."""
    order = {
        "userId": "u-1",
        "items": [{"productId": product, "quantity": 1}],
        "totalAmount": "12.50",
    }
    while True:
        order_id = (await services.place(order))["orderId"]
        ends[order_id] = (await services.ended(order_id, ORDER_TIMEOUT))["status"]
        if ends[order_id] != "confirmed":
            return


async def conflicts(replicas: Sequence[str]) -> int:
    """Return the number of write conflicts at these replicas of the inventory service."""
    async with httpx.AsyncClient(trust_env=False) as http:
        pages = [(await http.get(f"{url}/metrics")).text for url in replicas]
    return sum(int(float(found)) for page in pages for found in _CONFLICTS.findall(page))


async def _compare(stack: Stack, replicas: Sequence[str], units: int) -> None:
    run = secrets.token_hex(3)
    each = -(-units // CUSTOMERS)
    rates, costs = [], []
    processes = {"all": [child.pid for child in stack.children]}
    print(f"with {len(replicas)} replica(s) of the inventory service")
    async with SagaClient(stack.endpoints) as services:
        await sell_out(services, {f"warm-{run}": CUSTOMERS}, CUSTOMERS)
        for name, shares in (
            ("one product", {f"hot-{run}": units}),
            ("32 products", {f"own-{run}-{number}": each for number in range(CUSTOMERS)}),
        ):
            before, used = await conflicts(replicas), cpu_seconds(processes)["all"]
            sale = await sell_out(services, shares, CUSTOMERS)
            lost = await conflicts(replicas) - before
            rates.append(sale.rate)
            costs.append(1000 * (cpu_seconds(processes)["all"] - used) / len(sale.ends))
            print(
                f"{name}: {sale.rate:.1f} orders/s ({len(sale.ends)} in {sale.seconds:.1f} s, {sale.sold} of"
                f" {sum(shares.values())} sold), {costs[-1]:.1f} CPU ms an order, {lost} write conflicts",
                flush=True,
            )
    print(
        f"one product is sold at {rates[0] / rates[1]:.2f} of the speed of 32 products, with"
        f" {costs[0] / costs[1]:.2f} times the CPU"
    )


def main() -> None:
    """Start a stack, sell, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=400, help="units to sell each time")
    units = parser.parse_args().units
    for number in REPLICAS:
        with tempfile.TemporaryDirectory() as directory, Stack(Path(directory)) as stack:
            further = [stack.start_replica("inventory_service") for _ in range(number - 1)]
            asyncio.run(_compare(stack, [stack.endpoints.inventory, *further], units))


if __name__ == "__main__":
    main()

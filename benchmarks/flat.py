"""What finished orders cost the others: `python -m benchmarks.flat --orders 1000000`.

Runs two systems, one with empty databases and one whose databases are filled with finished orders, and
measures them by turns. Only the audit, which reads everything, should take longer. The CPU times of the
processes are compared: the time on the wall depends on what else the machine does.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic

import httpx

from benchmarks.filling import STOCK_KEY, fill
from benchmarks.processes import cpu_seconds, megabytes
from events.catalogue import SERVICES, short_name
from local_stack.process import free_port
from local_stack.stack import Stack
from operations.registry import SPECS
from saga import logs
from verification.audit.auditor import audit_at_rest
from verification.audit.reader import Databases, databases_at

ROUND = 100
"""Orders of one round."""
AT_ONCE = 20
PAGE = 100
"""Orders of a page, of which there are that many at least."""
CALLS = 20
IDLE_SECONDS = 5.0
UNITS = 1_000_000
PAGES = {
    "the newest orders": f"/orders?limit={PAGE}",
    "the newest confirmed": f"/orders?status=confirmed&limit={PAGE}",
    "the newest failed": f"/orders?status=failed&limit={PAGE}",
    "books of the orders": "/books",
    "books of the payments": "/books",
}

Figures = dict[str, float]


class RunningSystem:
    """A running system, and what it costs."""

    def __init__(self, stack: Stack, http: httpx.AsyncClient, name: str) -> None:
        """`name` is what the keys of the orders begin with."""
        self._stack = stack
        self._http = http
        self._name = name
        self._placed = 0

    @property
    def parts(self) -> Mapping[str, list[int]]:
        """The processes of each part, without the broker, which holds no orders."""
        nodes = self._stack.databases
        return {
            **{
                f"database of {short_name(name)}": [one.pid for one in nodes[name].children]
                for name in SERVICES
            },
            "services": [self._stack.service(name).pid for name in SERVICES],
        }

    async def prepare(self) -> None:
        """Place as many orders as a page has, of each kind."""
        await self._stock()
        await self._place(PAGE, "sim:decline")
        await self._place(PAGE)

    async def measure(self) -> Figures:
        """Measure once what should not depend on finished orders."""
        figures: Figures = {}
        saga = await self._cost(partial(self._place, ROUND), ROUND)
        figures |= {f"CPU ms a saga, {part}": cost for part, cost in saga.items()}
        figures["CPU ms a saga, all"] = sum(saga.values())
        for page, path in PAGES.items():
            base = self._stack.endpoints.payment if "payments" in page else self._stack.endpoints.order
            call = await self._cost(partial(self._get, base + path, CALLS), CALLS)
            figures[f"CPU ms a call, {page}"] = sum(call.values())
        idle = await self._cost(partial(asyncio.sleep, IDLE_SECONDS), IDLE_SECONDS)
        figures["idle, CPU in percent of a core"] = sum(idle.values()) / 10
        figures |= {f"MB, {part}": megabytes(ids) for part, ids in self.parts.items()}
        return figures

    async def _cost(self, work: Callable[[], Awaitable[object]], number: float) -> Figures:
        """Return the CPU milliseconds of each part for one of so many."""
        before = cpu_seconds(self.parts)
        await work()
        after = cpu_seconds(self.parts)
        return {part: 1000 * (after[part] - before[part]) / number for part in after}

    async def _stock(self) -> None:
        warehouse, product = STOCK_KEY
        inventory = self._stack.endpoints.inventory
        place = {"warehouseId": warehouse, "location": {"latitude": 52.5, "longitude": 13.4}}
        await self._http.put(f"{inventory}/warehouses", json={"warehouses": [place]})
        level = await self._http.put(f"{inventory}/stock/{warehouse}/{product}", json={"available": UNITS})
        level.raise_for_status()

    async def _get(self, url: str, number: int) -> None:
        for _ in range(number):
            (await self._http.get(url)).raise_for_status()

    async def _place(self, number: int, payment_method: str | None = None) -> None:
        """Place orders, and wait until they have ended."""
        limit = asyncio.Semaphore(AT_ONCE)
        orders = f"{self._stack.endpoints.order}/orders"
        body = {
            "userId": "u-1",
            "items": [{"productId": STOCK_KEY[1], "quantity": 1}],
            "totalAmount": "25.00",
            "paymentMethod": payment_method,
        }
        end = "failed" if payment_method else "confirmed"

        async def one(key: str) -> None:
            async with limit:
                placed = await self._http.post(orders, json=body, headers={"Idempotency-Key": key})
                order_id = placed.raise_for_status().json()["orderId"]
                ended = await self._http.get(f"{orders}/{order_id}", params={"wait": 60})
                status = ended.raise_for_status().json()["status"]
                if status != end:
                    raise RuntimeError(f"{order_id} is {status}")

        keys = [f"{self._name}-{self._placed + position}" for position in range(number)]
        self._placed += number
        await asyncio.gather(*map(one, keys))


async def compare(directories: Mapping[str, Path], rounds: int) -> Mapping[str, Figures]:
    """Start a system on what each directory holds; return the medians of rounds in which they take turns."""
    stacks = {name: _stack(directory) for name, directory in directories.items()}
    starts: dict[str, Figures] = {}
    samples: dict[str, list[Figures]] = {name: [] for name in stacks}
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=90) as http:
            systems = {name: RunningSystem(stack, http, name) for name, stack in stacks.items()}
            for name, system in systems.items():
                started = monotonic()
                await asyncio.to_thread(stacks[name].start)
                took, cpu = monotonic() - started, sum(cpu_seconds(system.parts).values())
                starts[name] = {"start, seconds": took, "start, CPU s": cpu}
                await system.prepare()
            for _ in range(rounds):
                for name, system in systems.items():
                    samples[name].append(await system.measure())
    finally:
        for stack in stacks.values():
            await asyncio.to_thread(stack.stop)
    return {name: starts[name] | _medians(found) for name, found in samples.items()}


def _medians(samples: Sequence[Figures]) -> Figures:
    return {name: median(one[name] for one in samples) for name in samples[0]}


def _stack(directory: Path) -> Stack:
    """Return a system at ports of its own."""
    return Stack(directory, env={spec.port_variable: str(free_port()) for spec in SPECS.values()})


def fill_directory(directory: Path, orders: int, *, audited: bool) -> None:
    """Fill the databases of a system with finished orders; audit them if asked to."""
    with _stack(directory) as stack:
        databases = databases_at({name: node.url for name, node in stack.databases.items()})
        started = monotonic()
        asyncio.run(fill(databases, orders))
        print(f"filled with {orders} orders in {monotonic() - started:.0f} s", flush=True)
        if audited:
            print_audit(stack, databases, orders)


def print_audit(stack: Stack, databases: Databases, orders: int) -> None:
    """Audit everything, and print what it costs."""
    nodes = {"databases": [child.pid for node in stack.databases.values() for child in node.children]}
    before, started = cpu_seconds(nodes)["databases"], monotonic()
    report = audit_at_rest(databases)
    assert report.ok, report.broken
    own, theirs = monotonic() - started, cpu_seconds(nodes)["databases"] - before
    print(
        f"audit: {1000 * own / orders:.3f} ms an order, {1000 * theirs / orders:.3f} CPU ms of the databases"
    )


def main() -> None:
    """Compare empty and full databases, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000, help="finished orders to fill in")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds of {ROUND} orders; the medians count")
    parser.add_argument("--audit", action="store_true", help="audit the filled databases as well")
    logs.configure("benchmark", "warning")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        directories = {name: Path(directory) / name for name in ("empty", "full")}
        fill_directory(directories["full"], chosen.orders, audited=chosen.audit)
        found = asyncio.run(compare(directories, chosen.rounds))
    print(f"{'':42}{'empty':>10}{chosen.orders:>12}{'ratio':>8}")
    for name, empty in found["empty"].items():
        ratio = f"{found['full'][name] / empty:8.2f}" if empty else f"{'-':>8}"
        print(f"{name:42}{empty:10.2f}{found['full'][name]:12.2f}{ratio}")


if __name__ == "__main__":
    main()

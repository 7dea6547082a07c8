"""Proxies between every process and every server, which count what passes."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

from benchmarks.systems.system import Addresses
from benchmarks.wire.amqp import AmqpConnection
from benchmarks.wire.mongodb import MongoConnection, Seen
from local_stack.proxy import Observer, proxy_to


class Counting:
    """Counts by role what passes on the way to `addresses`, which lead through proxies."""

    def __init__(self, addresses: Addresses, seen: Mapping[str, Seen]) -> None:
        self.addresses = addresses
        self.seen = seen

    def counts(self) -> dict[str, Counter[str]]:
        """Return what was counted since the last call, by role."""
        counts = {role: Counter(seen.counts) for role, seen in self.seen.items()}
        for seen in self.seen.values():
            seen.counts.clear()
        return counts


@asynccontextmanager
async def counting(to: Addresses) -> AsyncIterator[Counting]:
    """Run proxies to these addresses for as long as the block lasts."""
    seen = {role: Seen() for role in {**to.broker, **to.database}}

    async with AsyncExitStack() as proxies:

        async def through(url: str, observe: Callable[[], Observer]) -> str:
            port = urlsplit(url).port or 0
            proxy = await proxies.enter_async_context(proxy_to(port, observe))
            return url.replace(f":{port}/", f":{proxy.port}/", 1)

        broker = {
            role: await through(url, partial(AmqpConnection, seen[role].counts))
            for role, url in to.broker.items()
        }
        database = {
            role: await through(url, partial(MongoConnection, seen[role]))
            for role, url in to.database.items()
        }
        yield Counting(Addresses(broker, database), seen)

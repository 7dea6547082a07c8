"""Database processes for as long as a system is measured."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from local_stack.mongodb_node import DatabaseNode

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that starts or stops processes, to its end even if the caller is cancelled.

    Otherwise an interrupt would stop what a thread is still starting.
    """
    running = asyncio.ensure_future(asyncio.to_thread(partial(function, *args, **kwargs)))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


@asynccontextmanager
async def running_nodes(nodes: Collection[DatabaseNode]) -> AsyncIterator[None]:
    """Start the nodes at once, and kill them at the end: their data is thrown away.

    Raises:
        ProcessFailed: one does not come up.
    """
    try:
        await asyncio.gather(*(in_thread(node.start) for node in nodes))
        await asyncio.gather(*(in_thread(node.wait_ready) for node in nodes))
        yield
    finally:
        await asyncio.gather(*(in_thread(node.kill) for node in nodes))

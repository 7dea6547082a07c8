"""Calls to the broker through the client library that are never cancelled, with a limit to their duration."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from saga.rabbitmq.errors import is_clean_close

T = TypeVar("T")

RPC_TIMEOUT = 10.0
"""Seconds that the broker has to answer one question."""


async def run_shielded(call: Coroutine[Any, Any, T], limit: float = RPC_TIMEOUT) -> T:
    """Make a call, and never cancel it: neither when it takes too long nor when the caller is cancelled.

    Cancelled in the middle of an exchange with the broker, the library may swallow that, lose the whole
    connection, or never return (aiormq 7.2). A call left behind ends with its connection at the latest.

    Raises:
        TimeoutError: it has not ended after `limit` seconds.
        ConnectionError: the broker has closed the connection, or the library has cancelled the call, as it
            does when the broker was silent for too long. Passed on, this would cancel the whole service.
    """
    task = asyncio.ensure_future(call)
    task.add_done_callback(_retrieved)
    done, _ = await asyncio.wait([task], timeout=limit)
    if not done:
        raise TimeoutError(f"no answer within {limit:g} s")
    if task.cancelled():
        raise ConnectionError("the broker has fallen silent")
    if is_clean_close(error := task.exception()):
        raise ConnectionError("the broker closed the connection") from error
    return task.result()


def _retrieved(task: "asyncio.Future[Any]") -> None:
    if not task.cancelled():
        task.exception()

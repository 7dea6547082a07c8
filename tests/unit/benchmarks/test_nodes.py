"""What a thread starts or stops is finished even if its caller is cancelled."""

import asyncio
import threading

import pytest

from benchmarks.systems.nodes import in_thread


async def test_a_cancelled_caller_waits_for_the_end() -> None:
    started, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        may_end.wait(10)
        ended.set()

    calling = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(started.wait, 10)
    calling.cancel()
    await asyncio.sleep(0)
    assert not calling.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert ended.is_set()


async def test_results_and_errors_reach_the_caller() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)

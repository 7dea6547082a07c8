"""Calls to the client library are never cancelled."""

import asyncio

import pytest

from saga.rabbitmq.rpc import run_shielded
from tests.support.broker import until


class Call:
    """A call that ends when the test says so, and remembers whether it was cancelled."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.ended = "not"

    async def __call__(self) -> str:
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        self.ended = "well"
        return "answer"


async def test_answer_is_returned() -> None:
    call = Call()
    call.go_on.set()
    assert await run_shielded(call(), 20) == "answer"


async def test_error_is_raised() -> None:
    async def fail() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        await run_shielded(fail(), 20)


async def test_slow_call_is_left_running() -> None:
    call = Call()
    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        await run_shielded(call(), 0.01)
    await ends_well(call)


async def test_call_survives_the_cancellation_of_its_caller() -> None:
    call = Call()
    caller = asyncio.create_task(run_shielded(call(), 20))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller], timeout=20)
    assert caller.cancelled()
    await ends_well(call)


async def test_cancellation_by_the_library_means_a_lost_connection() -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ConnectionError, match="silent"):
        await run_shielded(give_up(), 20)


async def test_clean_close_means_a_lost_connection() -> None:
    async def hang_up() -> None:
        raise Exception

    with pytest.raises(ConnectionError, match="closed the connection"):
        await run_shielded(hang_up(), 20)


async def test_other_errors_are_not_translated() -> None:
    async def fail() -> None:
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        await run_shielded(fail(), 20)


async def ends_well(call: Call) -> None:
    """Let a call go on, and see that it ends as if nothing had been."""
    call.go_on.set()
    await until(lambda: call.ended == "well", "the call ends")

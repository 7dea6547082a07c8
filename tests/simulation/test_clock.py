"""Virtual time."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from time import monotonic

import pytest

from verification.simulation.clock import EPOCH, Deadlock, Sleep, VirtualLoop, utc_clock


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.discard()


def test_time_jumps_to_the_next_timer(loop: VirtualLoop) -> None:
    started = monotonic()
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.time() == 3600
    assert monotonic() - started < 5


def test_timers_go_off_in_their_order(loop: VirtualLoop) -> None:
    ended: list[int] = []

    async def after(seconds: int) -> None:
        await asyncio.sleep(seconds)
        ended.append(seconds)

    async def main() -> None:
        await asyncio.gather(*map(after, (3, 1, 2)))

    loop.run_until_complete(main())
    assert ended == [1, 2, 3]


def test_a_timeout_is_kept(loop: VirtualLoop) -> None:
    async def main() -> None:
        async with asyncio.timeout(5):
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        loop.run_until_complete(main())
    assert loop.time() == 5


def test_a_sleep_ends_in_its_turn(loop: VirtualLoop) -> None:
    woken: list[float] = []

    async def after(seconds: float) -> None:
        await Sleep(loop, seconds)
        woken.append(loop.time())

    async def main() -> None:
        await asyncio.gather(*map(after, (3, 0, 1)))

    loop.run_until_complete(main())
    assert woken == [0, 1, 3]


@pytest.mark.parametrize("later", [0, 1])
def test_a_sleep_can_be_interrupted(loop: VirtualLoop, later: float) -> None:
    ended: list[str] = []

    async def sleep() -> None:
        try:
            await Sleep(loop, 10)
        finally:
            ended.append(f"at {loop.time():g}")

    async def main() -> None:
        sleeping = asyncio.ensure_future(sleep())
        await asyncio.sleep(later)
        sleeping.cancel()
        await asyncio.wait([sleeping])
        assert sleeping.cancelled() is True

    loop.run_until_complete(main())
    assert ended == [f"at {later}"]


def test_a_timeout_ends_a_sleep(loop: VirtualLoop) -> None:
    async def main() -> None:
        async with asyncio.timeout(5):
            await Sleep(loop, 10)

    with pytest.raises(TimeoutError):
        loop.run_until_complete(main())
    assert loop.time() == 5


def test_waiting_without_a_timer_is_a_deadlock(loop: VirtualLoop) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        loop.run_until_complete(main())


def test_the_utc_clock_goes_with_the_loop(loop: VirtualLoop) -> None:
    clock = utc_clock(loop, skew=-1.5)
    loop.run_until_complete(asyncio.sleep(2.0004))
    assert clock() == EPOCH + timedelta(milliseconds=500)

"""Orders are placed as scheduled, and latency counts from the schedule."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.load import Times, at_rate, burst, one_by_one
from benchmarks.stamps import Stamps
from operations.errors import CommandFailed


@pytest.fixture
def stamps(tmp_path: Path) -> Iterator[Stamps]:
    stamps = Stamps(tmp_path / "stamps", create=True)
    yield stamps
    stamps.close()


def ignore(count: int) -> None:
    """Take no note of the progress."""


def test_latencies_count_from_the_scheduled_time() -> None:
    times = Times(due=[0.0, 1.0, 2.0], ended=[0.5, 3.0, 2.25])
    assert times.latencies == [0.25, 0.5, 2.0]
    assert times.percentile(0.5) == 0.5
    assert times.percentile(0.99) == times.percentile(1.0) == 2.0
    assert times.per_second == 1.0


@pytest.mark.parametrize(("late", "kept_up"), [(0, True), (5, True), (6, False)])
def test_a_system_falls_behind_with_one_order_in_twenty(late: int, kept_up: bool) -> None:
    due = [number / 10 for number in range(100)]
    limit = due[-1] + load.GRACE
    assert Times(due, [limit + (number < late) for number in range(100)]).kept_up == kept_up


def test_only_the_first_end_of_an_order_counts(stamps: Stamps, tmp_path: Path) -> None:
    stamps.end(3)
    first = stamps.ended(3)
    stamps.end(3)
    assert stamps.ended(3) == first > 0
    other = Stamps(tmp_path / "stamps")
    assert other.all_ended(range(2, 5)) == [0, first, 0]
    other.close()


async def test_a_stall_counts_for_all_orders_that_were_due_meanwhile(stamps: Stamps) -> None:
    resumed = asyncio.Event()

    async def submit(number: int) -> None:
        if number == 19:
            resumed.set()
        await resumed.wait()
        stamps.end(number)

    times = await at_rate(submit, stamps, range(20), 200.0, ignore)
    waits = [end - due for due, end in zip(times.due, times.ended, strict=True)]
    # All end when the last one is due: each waited for as long as it was due before that.
    assert waits[0] >= times.due[-1] - times.due[0]
    assert waits == sorted(waits, reverse=True)


async def test_one_order_follows_the_end_of_another(stamps: Stamps) -> None:
    running: Counter[str] = Counter()

    async def submit(number: int) -> None:
        assert not running["now"]
        running["now"] += 1
        running["all"] += 1
        asyncio.get_running_loop().call_soon(end, number)

    def end(number: int) -> None:
        running["now"] -= 1
        stamps.end(number)

    times = await one_by_one(submit, stamps, range(5), ignore)
    assert running["all"] == len(times.ended) == 5


async def test_a_burst_submits_many_at_once(stamps: Stamps) -> None:
    most = 0
    submitting: set[int] = set()
    ended: list[int] = []

    async def submit(number: int) -> None:
        nonlocal most
        submitting.add(number)
        most = max(most, len(submitting))
        await asyncio.sleep(0)
        submitting.remove(number)
        stamps.end(number)

    times = await burst(submit, stamps, range(10, 210), ended.append)
    assert most == load.IN_FLIGHT
    assert len(times.due) == sum(ended) == 200


async def test_orders_that_never_end_are_an_error(stamps: Stamps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "STALLED_AFTER", 0.05)

    async def submit(number: int) -> None:
        if number:
            stamps.end(number)

    with pytest.raises(CommandFailed, match="1 of 1 orders have not ended"):
        await one_by_one(submit, stamps, range(1), ignore)

"""Single calls that come at the same time become few calls with many items."""

import asyncio
from collections.abc import Sequence

import pytest

from saga.errors import Unavailable
from saga.reactions.batcher import LIMIT, Batcher


class Doubling:
    """Work that takes until it is let go on, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = asyncio.Event()
        self.started = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        self.started.set()
        await self.go_on.wait()
        if 13 in items:
            raise ValueError("unlucky")
        if 0 in items:
            raise Unavailable("away")
        return [2 * item for item in items]


async def call_all(batched: Batcher[int, int], items: Sequence[int]) -> list[int | BaseException]:
    return await asyncio.gather(*(batched(item) for item in items), return_exceptions=True)


async def test_a_single_call_is_made_at_once() -> None:
    work = Doubling()
    work.go_on.set()
    batched = Batcher(work)
    assert await batched(1) == 2
    assert await batched(2) == 4
    assert work.batches == [[1], [2]]


async def test_calls_at_the_same_time_become_one() -> None:
    work = Doubling()
    work.go_on.set()
    assert await call_all(Batcher(work), [3, 1, 2]) == [6, 2, 4]
    assert work.batches == [[3, 1, 2]]


async def test_items_during_a_call_go_with_the_next_one() -> None:
    work = Doubling()
    batched = Batcher(work)
    first = asyncio.create_task(batched(1))
    await work.started.wait()
    rest = asyncio.create_task(call_all(batched, [2, 3]))
    await asyncio.sleep(0)
    work.go_on.set()
    assert await first == 2
    assert await rest == [4, 6]
    assert work.batches == [[1], [2, 3]]


async def test_no_call_is_larger_than_the_limit() -> None:
    work = Doubling()
    work.go_on.set()
    items = list(range(100, 100 + LIMIT + 1))
    assert await call_all(Batcher(work), items) == [2 * item for item in items]
    assert [len(batch) for batch in work.batches] == [LIMIT, 1]


async def test_only_the_item_that_causes_a_failure_fails() -> None:
    work = Doubling()
    batched = Batcher(work)
    among_others = asyncio.create_task(call_all(batched, [1, 13, 2]))
    await work.started.wait()
    afterwards = asyncio.create_task(batched(3))
    await asyncio.sleep(0)
    work.go_on.set()
    one, doomed, two = await among_others
    assert (one, str(doomed), two) == (2, "unlucky", 4)
    assert await afterwards == 6
    assert work.batches == [[1, 13, 2], [1], [13], [2], [3]]


async def test_unavailable_is_not_repeated_item_by_item() -> None:
    work = Doubling()
    work.go_on.set()
    batched = Batcher(work)
    assert [str(error) for error in await call_all(batched, [1, 0, 2])] == ["away"] * 3
    assert work.batches == [[1, 0, 2]]
    assert await batched(4) == 8


async def test_a_cancelled_caller_does_not_affect_the_others() -> None:
    work = Doubling()
    batched = Batcher(work)
    impatient, patient = asyncio.create_task(batched(1)), asyncio.create_task(batched(2))
    await work.started.wait()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    work.go_on.set()
    assert await patient == 4
    assert await batched(3) == 6
    assert work.batches == [[1, 2], [3]]


async def test_a_cancelled_caller_does_not_hide_a_failure() -> None:
    work = Doubling()
    batched = Batcher(work)
    impatient, patient = asyncio.create_task(batched(2)), asyncio.create_task(batched(13))
    await work.started.wait()
    impatient.cancel()
    work.go_on.set()
    with pytest.raises(ValueError, match="unlucky"):
        await patient
    assert await batched(3) == 6


async def test_too_few_results_fail_every_caller() -> None:
    async def forgetful(items: Sequence[int]) -> Sequence[int]:
        return [2 * item for item in items[:-1]]

    batched = Batcher(forgetful)
    async with asyncio.timeout(5):
        results = await call_all(batched, [1, 2])
    assert isinstance(results[1], BaseException)
    assert not isinstance(results[1], TimeoutError)

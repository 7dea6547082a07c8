"""Recording what a tap sees."""

from collections.abc import AsyncIterator

from operations.event_tap import Recorder, Seen
from tests.support.command_line import event, requested, seen


async def test_recorder_waits_for_the_last_event() -> None:
    recorder = Recorder()
    assert await recorder.whole("o-1", within=0.01) == []

    async def arrive() -> AsyncIterator[Seen]:
        for one in seen(requested(), event("OrderFailed", 2, 1, reason="x", status="failed")):
            yield one

    await recorder.record(arrive())
    assert len(await recorder.whole("o-1", within=5)) == 2

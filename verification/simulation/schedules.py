"""Many schedules, on all processors."""

import gc
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from verification.simulation.world import ScheduleResult, play, silence

CHUNK = 25


def play_all(seeds: Sequence[int], processes: int | None = None) -> Iterator[ScheduleResult]:
    """Play the schedules of these seeds, `processes` at a time, all processors by default."""
    count = min(processes or len(os.sched_getaffinity(0)), -(-len(seeds) // CHUNK))
    if count <= 1:
        yield from map(play, seeds)
        return
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_settle_down) as pool:
        try:
            yield from pool.map(_play_and_tidy_up, seeds, chunksize=CHUNK)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _settle_down() -> None:
    """Have a worker process log nothing, and collect garbage only between schedules."""
    silence()
    gc.disable()
    gc.collect()
    gc.freeze()


def _play_and_tidy_up(seed: int) -> ScheduleResult:
    """Play a schedule, and free its world while that is small and still in the processor's cache."""
    result = play(seed)
    gc.collect()
    return result


def explain(result: ScheduleResult) -> str:
    """Return the timeline of a schedule, what it violated, and the command that plays it again."""
    again = play(result.seed, trace=True)
    return "\n".join([again.timeline, "", *map(str, again.violations), "", f"Reproduce: {result.command}"])

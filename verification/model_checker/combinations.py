"""Many searches, on all processors: no fault, each class alone, and all pairs."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import combinations_with_replacement
from multiprocessing import get_context

from verification.model_checker.model import FAULTS, Services
from verification.model_checker.search import SearchResult, search


def fault_combinations(classes: Sequence[str] = tuple(FAULTS), most: int = 2) -> list[tuple[str, ...]]:
    """Return every combination of at most `most` classes, which may repeat, the smallest first."""
    return [chosen for size in range(most + 1) for chosen in combinations_with_replacement(classes, size)]


def search_all(
    choices: Sequence[Sequence[str]], limit: int, processes: int | None = None
) -> Iterator[SearchResult]:
    """Search with each of these choices of faults, `processes` at a time, all processors by default."""
    count = min(processes or len(os.sched_getaffinity(0)), len(choices))
    if count <= 1:
        yield from (search(chosen, limit) for chosen in choices)
        return
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(partial(_search, limit), choices)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _search(limit: int, faults: Sequence[str]) -> SearchResult:
    return search(faults, limit, _services())


@cache
def _services() -> Services:
    return Services()

"""The simulation can fail: each of these mistakes is caught within so many schedules.

A mistake of a store is made in that of the simulation. That the real one does not make it is for the contract
tests to show, which both pass.

`python -m tests.simulation.test_mutations 200` tells how many of the first 200 schedules catch each of them.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.simulation import mutants as mistakes
from verification.simulation.world import play

LIMITS: dict[Callable[[mistakes.Patch], None], int] = {
    mistakes.acknowledge_at_once: 60,
    mistakes.acknowledge_before_publishing: 200,
    mistakes.publish_without_confirms: 80,
    mistakes.guard_no_version: 100,
    mistakes.guard_no_stock: 800,
    mistakes.repeat_under_other_ids: 100,
    mistakes.forget_what_was_handled: 40,
    mistakes.leave_no_tombstone: 100,
    mistakes.forget_the_refund: 40,
    mistakes.charge_each_time_under_a_new_key: 10,
    mistakes.leave_what_is_left_over: 10,
    mistakes.never_nudge: 600,
    mistakes.expire_and_keep_the_stock: 40,
    mistakes.confirm_what_is_not_held: 200,
    mistakes.keep_what_is_approved_late: 100,
    mistakes.await_no_payment_after_an_expiry: 40,
    mistakes.fail_before_all_is_undone: 20,
    mistakes.take_pending_for_declined: 60,
    mistakes.never_ask_about_what_is_pending: 200,
    mistakes.refund_under_a_new_key_after_silence: 600,
    mistakes.refund_what_is_pending_with_another_key: 600,
    mistakes.cancel_what_is_paid: 200,
    mistakes.suspect_nobody: 300,
    mistakes.bury_every_suspect: 80,
}
"""Within how many schedules each mistake must be caught."""


def caught_by(mistake: Callable[[mistakes.Patch], None], seeds: Iterable[int]) -> Iterator[int]:
    """Play these schedules with a mistake; yield the seeds of those that catch it."""
    with pytest.MonkeyPatch.context() as patch:
        mistake(patch)
        yield from (seed for seed in seeds if play(seed).violations)


def first(mistake: Callable[[mistakes.Patch], None]) -> int | None:
    """Return the first schedule that catches a mistake."""
    return next(caught_by(mistake, range(1, LIMITS[mistake] + 1)), None)


@pytest.fixture(scope="module")
def caught() -> Iterator[dict[str, int | None]]:
    """Return which schedule is the first to catch each mistake; all are looked for side by side."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        names = [mistake.__name__ for mistake in LIMITS]
        yield dict(zip(names, pool.map(first, LIMITS), strict=True))


@pytest.mark.parametrize("mistake", LIMITS, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_caught(
    mistake: Callable[[mistakes.Patch], None], caught: dict[str, int | None]
) -> None:
    assert caught[mistake.__name__] is not None, f"not caught in {LIMITS[mistake]} schedules"
    print(f"caught by schedule {caught[mistake.__name__]}, at the latest by {LIMITS[mistake]}")  # noqa: T201


if __name__ == "__main__":
    schedules = int(sys.argv[1])
    for name in LIMITS:
        found = list(caught_by(name, range(1, schedules + 1)))
        print(  # noqa: T201
            f"{name.__name__:<36} {len(found):>5} of {schedules}, first {found[:1]}", flush=True
        )

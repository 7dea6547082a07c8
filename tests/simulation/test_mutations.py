"""The simulation can fail: each mutant is caught within so many schedules.

A mutant of a store is a mutant of the simulation's store. The contract tests, which both stores pass, show
that the real one does not have the bug.

`python -m tests.simulation.test_mutations 200` shows how many of the first 200 schedules catch each mutant.
"""

import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.simulation.mutants import inventory, kernel, orders, payments
from tests.simulation.mutants.patching import Mutant
from verification.invariants.names import Invariant
from verification.simulation.world import Result, play

LIMITS: dict[Mutant, int] = {
    kernel.acknowledge_at_once: 60,
    kernel.acknowledge_before_publishing: 200,
    kernel.publish_without_confirms: 80,
    kernel.write_unguarded: 100,
    inventory.write_stock_unguarded: 800,
    kernel.repeat_events_under_new_ids: 100,
    kernel.forget_the_journal: 40,
    inventory.leave_no_tombstone: 100,
    payments.answer_without_refunding: 40,
    payments.charge_under_a_random_key: 10,
    kernel.never_relay: 10,
    kernel.never_nudge: 600,
    inventory.expire_and_keep_the_stock: 40,
    inventory.confirm_without_a_hold: 200,
    payments.keep_a_late_approval: 100,
    orders.await_no_payment_after_expiry: 40,
    orders.fail_before_compensation_ends: 20,
    payments.treat_pending_as_declined: 60,
    payments.never_ask_about_pending_payments: 200,
    payments.refund_under_a_new_key_after_silence: 600,
    payments.refund_a_pending_refund_under_a_new_key: 600,
    orders.cancel_a_paid_order: 200,
    kernel.never_quarantine: 300,
    kernel.dead_letter_every_quarantined_message: 80,
}
"""Within how many schedules each mutant must be caught."""


def catching(mutant: Mutant, seeds: Iterable[int]) -> Iterator[Result]:
    """Play these schedules with a mutant; yield the results of those that catch it."""
    with pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        yield from (result for result in map(play, seeds) if result.violations)


def first(mutant: Mutant) -> tuple[int, set[Invariant]] | None:
    """Return the first schedule that catches a mutant, and the invariants that it breaks there."""
    for result in catching(mutant, range(1, LIMITS[mutant] + 1)):
        return result.seed, {one.invariant for one in result.violations}
    return None


@pytest.fixture(scope="module")
def caught() -> Iterator[dict[str, tuple[int, set[Invariant]] | None]]:
    """Return the first schedule that catches each mutant; all are looked for at the same time."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        names = [mutant.__name__ for mutant in LIMITS]
        yield dict(zip(names, pool.map(first, LIMITS), strict=True))


@pytest.mark.parametrize("mutant", LIMITS, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught(mutant: Mutant, caught: dict[str, tuple[int, set[Invariant]] | None]) -> None:
    limit = LIMITS[mutant]
    found = caught[mutant.__name__]
    assert found is not None, f"not caught in {limit} schedules"
    print(f"caught by schedule {found[0]}, at the latest by {limit}: {sorted(found[1])}")  # noqa: T201


if __name__ == "__main__":
    schedules = int(sys.argv[1])
    for name in LIMITS:
        found = list(catching(name, range(1, schedules + 1)))
        broken = sorted({one.invariant for result in found for one in result.violations})
        seeds = [result.seed for result in found[:1]]
        print(  # noqa: T201
            f"{name.__name__:<42} {len(found):>5} of {schedules}, first {seeds} {broken}", flush=True
        )

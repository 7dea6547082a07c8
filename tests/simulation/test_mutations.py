"""The simulation can fail: each mutant is caught within so many schedules, by an invariant that it breaks.

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
from verification.simulation.world import ScheduleResult, play

CAUGHT_BY: dict[Mutant, tuple[int, Invariant]] = {
    kernel.acknowledge_at_once: (60, Invariant.DEAD_LETTERS_ARE_POISON),
    kernel.acknowledge_before_publishing: (200, Invariant.EVENTS_ARE_PUBLISHED),
    kernel.publish_without_confirms: (80, Invariant.EVENTS_ARE_PUBLISHED),
    kernel.write_unguarded: (100, Invariant.ONE_BODY_PER_ID),
    inventory.write_stock_unguarded: (800, Invariant.STOCK_IS_NOT_NEGATIVE),
    kernel.repeat_events_under_new_ids: (100, Invariant.RECORDED_BEFORE_PUBLISHED),
    kernel.forget_the_journal: (40, Invariant.EVENTS_ARE_PUBLISHED),
    inventory.leave_no_tombstone: (100, Invariant.ORDER_ENDS),
    payments.answer_without_refunding: (40, Invariant.MONEY_ADDS_UP),
    payments.charge_under_a_random_key: (10, Invariant.PROVIDER_AGREES),
    kernel.encode_repeated_events_again: (100, Invariant.ONE_BODY_PER_ID),
    kernel.conclude_from_what_is_assumed: (400, Invariant.ORDER_ENDS),
    kernel.react_again_on_what_has_lost: (100, Invariant.ONE_BODY_PER_ID),
    kernel.never_wake_for_the_relay: (100, Invariant.COMES_TO_REST),
    kernel.never_wake_for_the_clock: (100, Invariant.COMES_TO_REST),
    kernel.never_wake_for_a_nudge: (600, Invariant.ORDER_ENDS),
    kernel.relay_nothing: (200, Invariant.EVENTS_ARE_PUBLISHED),
    kernel.mark_before_the_broker_confirms: (200, Invariant.EVENTS_ARE_PUBLISHED),
    kernel.mark_every_event_of_the_aggregate: (600, Invariant.EVENTS_ARE_PUBLISHED),
    kernel.put_off_what_was_not_published: (800, Invariant.EVENTS_ARE_PUBLISHED),
    kernel.put_off_without_a_guard: (600, Invariant.ONE_BODY_PER_ID),
    inventory.expire_and_keep_the_stock: (40, Invariant.STOCK_ADDS_UP),
    inventory.confirm_without_a_hold: (200, Invariant.STOCK_MATCHES_ORDER),
    payments.keep_a_late_approval: (100, Invariant.PROVIDER_AGREES),
    orders.await_no_payment_after_expiry: (40, Invariant.MONEY_MATCHES_ORDER),
    orders.fail_before_compensation_ends: (20, Invariant.NO_CRASH),
    payments.treat_pending_as_declined: (60, Invariant.PROVIDER_AGREES),
    payments.never_ask_about_pending_payments: (200, Invariant.PAYMENT_FINISHES),
    payments.refund_under_a_new_key_after_silence: (600, Invariant.PROVIDER_AGREES),
    payments.refund_a_pending_refund_under_a_new_key: (600, Invariant.PROVIDER_AGREES),
    orders.cancel_a_paid_order: (200, Invariant.ORDER_ENDS),
    kernel.never_quarantine: (300, Invariant.DEAD_LETTERS_ARE_POISON),
    kernel.dead_letter_every_quarantined_message: (80, Invariant.DEAD_LETTERS_ARE_POISON),
}
"""Within how many schedules each mutant must break which invariant."""


def catching(mutant: Mutant, seeds: Iterable[int]) -> Iterator[ScheduleResult]:
    """Play these schedules with a mutant; yield the results of those that catch it."""
    with pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        yield from (result for result in map(play, seeds) if result.violations)


def first(mutant: Mutant) -> tuple[int, set[Invariant]] | None:
    """Return the first schedule in which a mutant breaks its invariant, and all that it breaks there."""
    limit, invariant = CAUGHT_BY[mutant]
    for result in catching(mutant, range(1, limit + 1)):
        broken = {one.invariant for one in result.violations}
        if invariant in broken:
            return result.seed, broken
    return None


@pytest.fixture(scope="module")
def caught() -> Iterator[dict[str, tuple[int, set[Invariant]] | None]]:
    """Return the first schedule that catches each mutant; all are looked for at the same time."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        names = [mutant.__name__ for mutant in CAUGHT_BY]
        yield dict(zip(names, pool.map(first, CAUGHT_BY), strict=True))


@pytest.mark.parametrize("mutant", CAUGHT_BY, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught(mutant: Mutant, caught: dict[str, tuple[int, set[Invariant]] | None]) -> None:
    limit, invariant = CAUGHT_BY[mutant]
    found = caught[mutant.__name__]
    assert found is not None, f"has not broken '{invariant}' in {limit} schedules"
    print(f"caught by schedule {found[0]}, at the latest by {limit}: {sorted(found[1])}")  # noqa: T201


if __name__ == "__main__":
    schedules = int(sys.argv[1])
    for name in CAUGHT_BY:
        found = list(catching(name, range(1, schedules + 1)))
        broken = sorted({one.invariant for result in found for one in result.violations})
        seeds = [result.seed for result in found[:1]]
        print(  # noqa: T201
            f"{name.__name__:<42} {len(found):>5} of {schedules}, first {seeds} {broken}", flush=True
        )

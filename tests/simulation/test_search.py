"""The model checker finds no violation in any state of one order, and does find the mutants."""

import json
from itertools import accumulate

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.simulation.mutants import inventory, orders, payments
from tests.simulation.mutants.patching import Mutant, Patch
from verification.invariants.names import Invariant
from verification.model_checker.combinations import fault_combinations, search_all
from verification.model_checker.judge import Judge
from verification.model_checker.longest_path import longest_path
from verification.model_checker.model import FAULTS
from verification.model_checker.search import SearchResult, search

LIMIT = 200_000


def described(found: SearchResult) -> str:
    return "\n".join([found.name, str(found.violation), *found.path_lines])


@pytest.mark.timeout(600)  # half a minute alone on two processors
def test_no_pair_of_faults_breaks_anything() -> None:
    found = list(search_all(fault_combinations(), LIMIT))
    for one in found:
        assert one.violation is None, described(one)
        assert one.complete
        assert one.quiescent
    assert len(found) == 1 + len(FAULTS) + len(FAULTS) * (len(FAULTS) + 1) // 2
    # A little less than what is explored today: a search that sees nothing finds nothing.
    assert sum(one.states for one in found) > 150_000
    assert sum(one.transitions for one in found) > 450_000
    assert max(one.farthest for one in found) >= 24
    assert max(one.longest or 0 for one in found) >= 24
    assert [one.name for one in found if one.longest is None and "wipe" not in one.faults] == []


@pytest.mark.parametrize(
    "faults",
    [
        "cancel,late,refuse",
        "cancel,refuse,wipe",
        "deadline,late,wipe",
        "expiry,rival,crash",
        "expiry,wipe,adopt",
        "cancel,pending,late",
        "cancel,pending,refuse",
        "expiry,pending,crash",
    ],
)
def test_three_faults_at_a_time_break_nothing(faults: str) -> None:
    found = search(faults.split(","), LIMIT)
    assert found.violation is None, described(found)
    assert found.complete


@pytest.mark.parametrize("fault", FAULTS)
def test_every_class_of_faults_adds_transitions(fault: str) -> None:
    # A refund is refused only where one is asked for.
    others = ("cancel",) if fault == "refuse" else ()
    assert search((fault, *others), LIMIT).transitions > search(others, LIMIT).transitions


def test_a_fault_named_twice_strikes_twice() -> None:
    once, twice = search(("duplicate",), LIMIT), search(("duplicate", "duplicate"), LIMIT)
    assert twice.complete
    assert twice.violation is None
    assert twice.states > once.states


FOUND_BY: list[tuple[Mutant, str, int, Invariant]] = [
    (orders.adopt_other_content, "other", 15, Invariant.STOCK_MATCHES_ORDER),
    (orders.await_no_payment_after_expiry, "expiry", 10, Invariant.MONEY_MATCHES_ORDER),
    (orders.cancel_a_paid_order, "cancel", 16, Invariant.ORDER_ENDS),
    (orders.miss_deadline_of_a_paid_order, "deadline", 16, Invariant.ORDER_ENDS),
    (orders.fail_a_paid_order_for_an_expired_hold, "expiry", 16, Invariant.STOCK_MATCHES_ORDER),
    (orders.release_no_stock_at_the_deadline, "deadline", 5, Invariant.STOCK_MATCHES_ORDER),
    (orders.ignore_a_refused_refund, "cancel,refuse", 14, Invariant.ORDER_ENDS),
    (orders.fail_with_a_refused_refund, "cancel,refuse", 13, Invariant.NO_CRASH),
    (orders.repeat_an_adopted_request, "adopt", 15, Invariant.COMES_TO_REST),
    (orders.nudge_only_one_request, "cancel,wipe", 9, Invariant.COMES_TO_REST),
    (inventory.leave_no_tombstone, "cancel", 6, Invariant.ORDER_ENDS),
    (inventory.release_allocated_stock, "release", 13, Invariant.STOCK_MATCHES_ORDER),
    (inventory.hold_again_for_every_request, "same", 4, Invariant.STOCK_ADDS_UP),
    (inventory.expire_and_keep_the_stock, "expiry", 3, Invariant.STOCK_ADDS_UP),
    (payments.charge_after_a_void, "cancel", 13, Invariant.MONEY_MATCHES_ORDER),
    (payments.leave_no_void, "cancel", 12, Invariant.ORDER_ENDS),
    (payments.treat_silence_as_declined, "late", 10, Invariant.PROVIDER_AGREES),
    (payments.keep_a_late_approval, "late", 11, Invariant.PROVIDER_AGREES),
    (payments.forget_the_pending_refund, "cancel", 12, Invariant.ORDER_ENDS),
    (payments.record_no_answer_for_its_request, "wipe", 7, Invariant.COMES_TO_REST),
    (payments.accept_a_refusal_of_any_attempt, "cancel,late,refuse", 13, Invariant.ONE_CHARGE),
    (payments.charge_under_a_new_key_after_silence, "late", 7, Invariant.ONE_CHARGE),
    (payments.refund_under_a_new_key_after_silence, "cancel,late", 11, Invariant.ONE_CHARGE),
    (payments.treat_pending_as_declined, "pending", 11, Invariant.PROVIDER_AGREES),
    (payments.refund_a_pending_refund_under_a_new_key, "cancel,pending", 12, Invariant.ONE_CHARGE),
]
"""Each mutant, the faults that it needs, the steps of the shortest path to a violation, and what that
breaks."""


@pytest.mark.parametrize(("mutant", "faults", "steps", "invariant"), FOUND_BY)
def test_a_mutant_is_found_by_the_shortest_path(
    mutant: Mutant, faults: str, steps: int, invariant: Invariant, monkeypatch: Patch
) -> None:
    mutant(monkeypatch)
    found = search(faults.split(","), LIMIT)
    assert found.violation, f"not found in {found.states} states"
    assert (found.violation.invariant, len(found.path_lines)) == (invariant, steps), described(found)


def test_only_a_crash_with_a_wipe_loses_the_last_event(
    monkeypatch: Patch,
) -> None:
    # The service crashes before it publishes that event, and the broker loses the message to redeliver.
    monkeypatch.setattr(Judge, "_lost_with_its_service", lambda self, state: False)
    both = search(("crash", "wipe"), LIMIT)
    assert both.violation
    assert both.violation.invariant == Invariant.EVENTS_ARE_PUBLISHED
    for alone in ("crash", "wipe"):
        assert search((alone, "cancel"), LIMIT).complete


def test_a_search_beyond_its_limit_is_incomplete() -> None:
    found = search(("same",), limit=100)
    assert not found.complete
    assert found.violation is None
    assert found.states <= 110


def test_a_cycle_without_exit_is_found(monkeypatch: Patch) -> None:
    # The nudged request gets an empty answer, so it is nudged again and again.
    payments.record_no_answer_for_its_request(monkeypatch)
    found = search(("wipe",), LIMIT)
    assert found.violation
    assert str(found.violation) == "o-1 never comes to rest from here  [comes to rest]"


@pytest.mark.parametrize(
    ("moves", "longest"),
    [
        ([[]], 0),
        ([[1], [2], []], 2),
        ([[1, 2], [2], []], 2),
        ([[2, 1], [3], [], [2]], 3),
        ([[1], [0]], None),
        ([[1], [2], [1, 3], []], None),
    ],
)
def test_the_longest_path_is_known_where_there_is_no_cycle(
    moves: list[list[int]], longest: int | None
) -> None:
    ends_at = list(accumulate(map(len, moves)))
    assert longest_path(ends_at, [target for targets in moves for target in targets]) == longest


class TestCommand:
    def test_prints_the_states_of_each_search(self) -> None:
        result = CliRunner().invoke(app, ["search", "--faults", "crash,expiry"])
        assert result.exit_code == 0
        assert "crash,expiry" in result.output
        assert "every order came to rest, and no promise is broken" in result.output

    def test_json_holds_every_search_and_the_totals(self) -> None:
        result = CliRunner().invoke(app, ["search", "--faults", "none", "--json"])
        assert result.exit_code == 0
        output = json.loads(result.stdout)
        (one,) = output["searches"]
        assert one["violation"] is None
        assert one["complete"]
        assert output["states"] == one["states"] > 20

    def test_endless_nudges_have_no_longest_path(self) -> None:
        result = CliRunner().invoke(app, ["search", "--faults", "wipe", "--json"])
        assert json.loads(result.stdout)["longest"] is None

    def test_a_violation_is_printed_with_the_path_to_it(self, monkeypatch: Patch) -> None:
        inventory.leave_no_tombstone(monkeypatch)
        result = CliRunner().invoke(app, ["search", "--faults", "cancel"])
        assert result.exit_code == 1
        assert "the customer CANCELS" in result.output
        assert "Reproduce: saga search --faults cancel" in result.output
        assert "no promise is broken" not in result.output

    def test_an_incomplete_search_fails(self) -> None:
        result = CliRunner().invoke(app, ["search", "--faults", "same", "--limit", "50"])
        assert result.exit_code == 1
        assert "try a higher --limit" in result.output

    def test_an_unknown_fault_is_refused(self) -> None:
        result = CliRunner().invoke(app, ["search", "--faults", "crash,flood"])
        assert result.exit_code == 2
        assert "flood" in result.output
        assert "rival" in result.output

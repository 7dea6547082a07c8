"""The services against the adversary: every order ends, and no promise is broken.

The environment variable `SCHEDULES` sets how many are played, 4,000 by default: half of them from a fixed
window of seeds, half from a window that moves every day. `ROLLING_SEED`, which is printed, plays that again.
"""

import json
import os
import re
from datetime import UTC, date, datetime

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.simulation.mutants import kernel
from verification.simulation.adversary import KINDS
from verification.simulation.schedules import explain, play_all
from verification.simulation.world import play

SCHEDULES = int(os.environ.get("SCHEDULES", "4000"))
TODAY = 1_000_000 + 100_000 * (datetime.now(UTC).date() - date(2026, 1, 1)).days
ROLLING_SEED = int(os.environ.get("ROLLING_SEED", TODAY))
FIXED = range(1, 1 + SCHEDULES // 2)
ROLLING = range(ROLLING_SEED, ROLLING_SEED + SCHEDULES - len(FIXED))
SINGLE_FAULTS = ("drain", "notification", "poison", "undecodable", "wipe")
"""Faults that strike once or twice in a schedule, if at all, and are not drawn at each occasion."""


@pytest.mark.timeout(900)
def test_every_order_ends_and_all_books_balance() -> None:
    print(f"schedules {FIXED.start} to {FIXED.stop - 1}, and ROLLING_SEED={ROLLING_SEED}")  # noqa: T201
    seeds = [*FIXED, *ROLLING]
    struck: set[str] = set()
    played = 0
    for result in play_all(seeds):
        played += 1
        struck |= result.faults.keys()
        assert not result.violations, explain(result)
    assert played == len(seeds) == SCHEDULES
    assert struck == {*KINDS, *SINGLE_FAULTS}


def test_a_seed_always_gives_the_same_schedule() -> None:
    first, second = play(7, trace=True), play(7, trace=True)
    assert first == second
    assert "order-1" in first.timeline


def test_tracing_changes_nothing() -> None:
    seen, unseen = play(11, trace=True), play(11)
    assert (seen.ends, seen.faults, seen.violations) == (unseen.ends, unseen.faults, unseen.violations)
    assert unseen.timeline == ""


class TestCommand:
    def test_prints_the_totals(self) -> None:
        result = CliRunner().invoke(app, ["simulate", "--schedules", "5", "--seed", "3"])
        assert result.exit_code == 0, result.output
        assert "5 schedules" in result.output
        assert "every order ended, and no promise is broken" in result.output

    def test_json_holds_the_totals(self) -> None:
        result = CliRunner().invoke(app, ["simulate", "--schedules", "5", "--seed", "3", "--json"])
        output = json.loads(result.stdout)
        assert output["schedules"] == 5
        assert output["orders"] == sum(output["ends"].values()) > 0
        assert output["failed"] is None

    def test_a_violation_is_printed_with_timeline_and_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kernel.never_wake_for_the_relay(monkeypatch)
        result = CliRunner().invoke(app, ["simulate", "--schedules", "5", "--seed", "1"])
        assert result.exit_code == 1
        assert "no more faults" in result.output
        command = re.search(r"Reproduce: saga simulate --seed (\d+) --schedules 1", result.output)
        assert command
        again = CliRunner().invoke(app, ["simulate", "--schedules", "1", "--seed", command[1], "--json"])
        assert json.loads(again.stdout)["failed"]["seed"] == int(command[1])

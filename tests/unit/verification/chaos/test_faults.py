"""The plan of a chaos run, and the orders that go with it."""

from collections import Counter
from itertools import pairwise

import pytest

from cli.chaos_report import Outcome, to_json
from operations.client import Services
from operations.endpoints import DEFAULTS
from verification.audit.report import AuditReport
from verification.chaos.faults import BROKER, BROKER_PAUSE, BROKER_SPARED, KINDS, PARTS, Fault, plan
from verification.chaos.load import WAYS, Workload
from verification.chaos.victim import InjectedFault
from verification.invariants.names import Finding, Invariant

LONG = plan(7, 3000, 500)


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan(7, 600, 100) == plan(7, 600, 100)
    assert plan(7, 600, 100) != plan(8, 600, 100)


def test_faults_are_spread_over_the_whole_time() -> None:
    assert len(LONG) == 500
    assert [fault.at // 6 for fault in LONG] == list(range(500))


def test_every_part_is_struck_in_every_way() -> None:
    assert {(fault.part, fault.kind) for fault in LONG} == {(part, kind) for part in PARTS for kind in KINDS}


@pytest.mark.parametrize("seed", range(20))
def test_the_broker_has_time_to_come_up_between_two_restarts(seed: int) -> None:
    restarts = [
        fault.at for fault in plan(seed, 600, 100) if fault.part == BROKER and fault.kind in ("kill", "stop")
    ]
    assert all(at >= BROKER_SPARED for at in restarts)
    assert all(later - earlier >= BROKER_PAUSE for earlier, later in pairwise(restarts))


async def test_the_same_seed_gives_the_same_orders() -> None:
    async with Services(DEFAULTS) as services:

        def drawn(seed: int) -> list[str]:
            return [way.name for way in Workload(services, DEFAULTS, 500, 60, seed).ways]

        assert drawn(1) == drawn(1) != drawn(2)
        assert Counter(drawn(1)).keys() == {way.name for way in WAYS}


class TestOutcome:
    strikes = (
        InjectedFault(Fault(1, "kill", "database"), 2.0),
        InjectedFault(Fault(9, "cut", "broker"), 7.0),
    )

    def outcome(
        self,
        report: AuditReport | None = None,
        letters: int = 0,
        planned: int = 2,
        problems: tuple[str, ...] = (),
    ) -> Outcome:
        found = {"order_service": letters} if letters else {}
        ways = {"plain": Counter(confirmed=3)}
        return Outcome(3, ways, self.strikes, planned, report or AuditReport(), found, problems, 1.0, 60.0)

    def test_sound(self) -> None:
        outcome = self.outcome()
        assert outcome.ok
        assert outcome.slowest == self.strikes[1]
        told = to_json(outcome)
        assert (told["ok"], told["orders"], told["slowestRecovery"]) == (True, {"plain": {"confirmed": 3}}, 7)

    def test_whatever_is_wrong_is_told(self) -> None:
        broken = AuditReport()
        broken.add("o-1", [Finding(Invariant.ORDER_ENDS, "o-1", "is still paid")], [])
        assert not self.outcome(broken).ok
        for outcome, text in (
            (self.outcome(letters=2), "2 dead letters of order_service"),
            (self.outcome(planned=3), "1 faults were not carried out"),
            (self.outcome(problems=("a service ended",)), "a service ended"),
        ):
            assert not outcome.ok
            assert to_json(outcome)["problems"] == [text]

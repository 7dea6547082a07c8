"""The report of a chaos run names everything that went wrong."""

from collections import Counter

import pytest

from cli.chaos_report import to_json
from verification.audit.report import AuditReport
from verification.chaos.faults import Fault
from verification.chaos.report import ChaosReport
from verification.chaos.system_under_test import InjectedFault
from verification.invariants.names import Finding, Invariant

INJECTED = (
    InjectedFault(Fault(1, "kill", "database"), 2.0),
    InjectedFault(Fault(9, "cut", "broker"), 7.0),
)


def report(
    audit: AuditReport | None = None, letters: int = 0, planned: int = 2, failures: tuple[str, ...] = ()
) -> ChaosReport:
    found = {"order_service": letters} if letters else {}
    statuses = {"plain": Counter(confirmed=3)}
    return ChaosReport(3, statuses, INJECTED, planned, audit or AuditReport(), found, failures, 1.0, 60.0)


def test_a_sound_run() -> None:
    sound = report()
    assert sound.ok
    assert sound.slowest == INJECTED[1]
    output = to_json(sound)
    assert (output["ok"], output["orders"], output["slowestRecovery"]) == (
        True,
        {"plain": {"confirmed": 3}},
        7,
    )


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (report(letters=2), "2 dead letters of order_service"),
        (report(planned=3), "1 faults were not injected"),
        (report(failures=("a service ended",)), "a service ended"),
    ],
)
def test_every_problem_is_listed(broken: ChaosReport, text: str) -> None:
    assert not broken.ok
    assert to_json(broken)["problems"] == [text]


def test_a_broken_promise_fails_the_run() -> None:
    audit = AuditReport()
    audit.add("o-1", [Finding(Invariant.ORDER_ENDS, "o-1", "is still paid")], [])
    assert not report(audit).ok

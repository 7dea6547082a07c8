"""`saga demo`: what it reports, and its exit codes."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from cli import main
from cli.demo import command
from cli.demo.printing import where_to_look
from cli.demo.report import DemoReport
from operations import endpoints
from operations.timeline import timeline
from tests.support.command_line import UNREACHABLE, requested, runner, seen
from verification.audit.report import AuditReport
from verification.invariants.names import Finding, Invariant
from verification.scenarios.load_test import LoadTest
from verification.scenarios.scenario import ScenarioResult
from verification.scenarios.table import SCENARIOS


def report(problems: list[str], audit: AuditReport | None = None) -> DemoReport:
    result = ScenarioResult(SCENARIOS[0], "o-1", "confirmed", "", timeline(seen(requested())), problems)
    return DemoReport(endpoints.DEFAULTS, [result], LoadTest(0, Counter(), 0.5, [], []), audit)


@pytest.mark.parametrize(("problems", "exit_code"), [([], 0), (["never seen: OrderCreated"], 1)])
def test_exit_code_says_whether_all_was_as_expected(
    problems: list[str], exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(*_: object) -> DemoReport:
        return report(problems)

    monkeypatch.setattr(command, "_demo", play)
    monkeypatch.setenv("ORDER_URL", UNREACHABLE)  # otherwise a stack would be started
    result = runner.invoke(main.app, ["demo"])
    assert result.exit_code == exit_code, result.output
    assert ("Every order ended as expected" in result.stdout) == (exit_code == 0)
    assert all(problem in result.stdout for problem in problems)
    printed = runner.invoke(main.app, ["demo", "--json"])
    assert printed.exit_code == exit_code
    assert json.loads(printed.stdout)["ok"] == (exit_code == 0)


def test_audit_findings_are_problems() -> None:
    audit = AuditReport()
    assert report([], audit).problems == []
    audit.add("o-1", [Finding(Invariant.ORDER_ENDS, "o-1", "is still paid")], [])
    assert report([], audit).problems == ["audit: o-1 is still paid"]


def test_only_the_well_known_password_is_printed() -> None:
    known = "\n".join(where_to_look(endpoints.DEFAULTS))
    assert "password guest" in known
    secret = replace(endpoints.DEFAULTS, rabbitmq="amqp://saga:hush@broker:5672/")
    assert "hush" not in "\n".join(where_to_look(secret))

"""What the demo has found out, whether all is as it should be, and the same as JSON."""

from dataclasses import dataclass

from cli.audit_findings import to_json as audit_to_json
from operations.client import Json
from operations.endpoints import Endpoints
from operations.timeline import TimelineStep, detail
from verification.audit.report import AuditReport
from verification.scenarios.load_test import LoadTest
from verification.scenarios.scenario import ScenarioResult


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Everything the demo has found out."""

    endpoints: Endpoints
    results: list[ScenarioResult]
    load_test: LoadTest
    audit: AuditReport | None
    """What the services have stored of these orders; None if it is not known where."""

    @property
    def problems(self) -> list[str]:
        """Return everything that is not as it should be, a line each."""
        return [
            *(f"{result.scenario.name}: {problem}" for result in self.results for problem in result.problems),
            *self.load_test.problems,
            *self.audit_problems,
        ]

    @property
    def audit_problems(self) -> list[str]:
        """Return every promise that the audit has found broken, a line each."""
        violations = self.audit.violations if self.audit else []
        return [f"audit: {one.subject} {one.text}" for violation in violations for one in violation.findings]


def to_json(report: DemoReport, seconds: float, state: str) -> Json:
    """Return the object that `--json` prints: the report, the seconds it all took, where the state is."""
    return {
        "ok": not report.problems,
        "problems": report.problems,
        "seconds": round(seconds, 3),
        "state": state,
        "scenarios": [_scenario(result) for result in report.results],
        "loadTest": _load_test(report.load_test),
        "audit": audit_to_json(report.audit) if report.audit else None,
        "endpoints": _endpoints(report.endpoints),
    }


def _scenario(result: ScenarioResult) -> Json:
    return {
        "name": result.scenario.name,
        "orderId": result.order_id,
        "expected": result.scenario.expected,
        "actual": result.actual,
        "ok": not result.problems,
        "timeline": [_step(step) for step in result.steps],
    }


def _step(step: TimelineStep) -> Json:
    return {
        "milliseconds": step.milliseconds,
        "service": step.service,
        "event": step.event.type,
        "detail": detail(step.event),
    }


def _load_test(load_test: LoadTest) -> Json:
    return {
        "orders": load_test.orders,
        "ended": dict(load_test.ended),
        "seconds": round(load_test.seconds, 3),
        "ordersPerSecond": round(load_test.orders_per_second, 1),
    }


def _endpoints(at: Endpoints) -> Json:
    # Neither the broker's nor the database's URL: they may hold a password.
    return {
        "order": at.order,
        "inventory": at.inventory,
        "payment": at.payment,
        "management": at.management,
    }

"""What the demo found out, its judgement, and the same as JSON."""

from collections import Counter
from dataclasses import asdict, dataclass
from decimal import Decimal

from cli.audit_findings import to_json as audit_to_json
from events.catalogue import DEFAULT_CURRENCY
from events.types import format_money
from operations.client import Json
from operations.endpoints import Endpoints
from operations.timeline import Step, detail
from verification.audit.judge import Report as Audit
from verification.scenarios.books import Books, money_problems, stock_problems
from verification.scenarios.burst import LoadTest
from verification.scenarios.stories import ONE_OF_MANY, DemoRun, Outcome, Scenario


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the demo found out."""

    stage: DemoRun
    outcomes: list[Outcome]
    burst: LoadTest
    before: Books
    after: Books
    audit: Audit | None
    """What the services have stored of these orders; None when nobody said where."""

    @property
    def problems(self) -> list[str]:
        """Return everything that is not as it should be, a line each."""
        return [
            *(
                f"{outcome.story.name}: {problem}"
                for outcome in self.outcomes
                for problem in outcome.problems
            ),
            *self.burst.problems,
            *stock_problems(self.before, self.after, self.units_sold),
            *money_problems(self.before, self.after, self.amount_sold),
            *self.audit_problems,
        ]

    @property
    def audit_problems(self) -> list[str]:
        """Return every promise that the audit has found broken, a line each."""
        offenders = self.audit.offenders if self.audit else []
        return [f"audit: {one.about} {one.text}" for offender in offenders for one in offender.findings]

    @property
    def units_sold(self) -> Counter[str]:
        """The units of each product, by id, that the confirmed orders took."""
        sold: Counter[str] = Counter()
        for story, count in self._confirmed():
            sold.update({self.stage.product(name): units * count for name, units in story.takes.items()})
        return sold

    @property
    def amount_sold(self) -> Decimal:
        """The sum of the confirmed orders."""
        return sum((story.total * count for story, count in self._confirmed()), Decimal(0))

    def _confirmed(self) -> list[tuple[Scenario, int]]:
        one_each = [(outcome.story, 1) for outcome in self.outcomes if outcome.status == "confirmed"]
        return [*one_each, (ONE_OF_MANY, self.burst.ended["confirmed"])]


def to_json(report: Report, seconds: float, state: str) -> Json:
    """Return the object that `--json` prints: the report, the seconds it all took, where the state is."""
    return {
        "ok": not report.problems,
        "problems": report.problems,
        "seconds": round(seconds, 3),
        "state": state,
        "stories": [_story(outcome) for outcome in report.outcomes],
        "burst": _burst(report.burst),
        "books": {
            "currency": DEFAULT_CURRENCY,
            "before": _books(report.before),
            "after": _books(report.after),
        },
        "audit": audit_to_json(report.audit) if report.audit else None,
        "endpoints": _endpoints(report.stage.endpoints),
    }


def _story(outcome: Outcome) -> Json:
    return {
        "name": outcome.story.name,
        "orderId": outcome.order_id,
        "expected": outcome.story.expected,
        "actual": outcome.actual,
        "ok": not outcome.problems,
        "timeline": [_step(step) for step in outcome.steps],
    }


def _step(step: Step) -> Json:
    return {
        "milliseconds": step.milliseconds,
        "service": step.service,
        "event": step.event.type,
        "detail": detail(step.event),
    }


def _burst(burst: LoadTest) -> Json:
    return {
        "orders": burst.orders,
        "ended": dict(burst.ended),
        "seconds": round(burst.seconds, 3),
        "ordersPerSecond": round(burst.orders_per_second, 1),
    }


def _books(books: Books) -> Json:
    return {
        "stock": [
            {"warehouseId": warehouse, "productId": product, **asdict(level)}
            for (warehouse, product), level in books.stock.items()
        ],
        "charged": format_money(books.charged),
        "refunded": format_money(books.refunded),
        "confirmed": format_money(books.confirmed),
    }


def _endpoints(at: Endpoints) -> Json:
    # Neither the broker's nor the database's URL: they may hold a password.
    return {
        "order": at.order,
        "inventory": at.inventory,
        "payment": at.payment,
        "management": at.management,
    }

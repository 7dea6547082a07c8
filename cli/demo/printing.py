"""What the demo has found out, as text."""

from collections.abc import Collection

from rich import box
from rich.console import Console
from rich.table import Table

from cli.audit_findings import describe
from cli.console import print_plain
from cli.demo.report import DemoReport
from operations.endpoints import Endpoints, login_hint
from operations.timeline import lines
from verification.scenarios.scenario import ScenarioResult


def print_scenario(console: Console, number: int, result: ScenarioResult) -> None:
    """Print a scenario with its timeline and how it ended."""
    scenario = result.scenario
    print_plain(console, "", f"{number}. {scenario.name}: {scenario.about}", f"   order {result.order_id}")
    print_plain(console, *lines(result.steps))
    print_plain(console, f"   {result.actual}: {'; '.join(result.problems) or 'as expected'}")


def print_report(console: Console, report: DemoReport, seconds: float, state: str) -> None:
    """Print what is known after the scenarios: the load test, the summary, the audit, where to look."""
    load_test = report.load_test
    speed = f"{load_test.seconds:.2f} s: {load_test.orders_per_second:.0f} orders/second"
    print_plain(console, f"{load_test.orders} orders in {speed}", "")
    console.print(_summary(report))
    print_plain(console, "The audit of what the services have stored:", *_audit(report), "")
    print_plain(console, *where_to_look(report.endpoints), "")
    print_plain(console, *_verdict(report.problems))
    print_plain(console, f"The whole run took {seconds:.1f} s. Its state is {state}.")


def where_to_look(endpoints: Endpoints) -> list[str]:
    """Name the pages to open."""
    return [
        "Where to look, while the stack runs (`saga up` keeps one running):",
        f"  broker     {endpoints.management}  ({login_hint(endpoints.rabbitmq)})",
        f"  orders     {endpoints.order}/docs",
        f"  inventory  {endpoints.inventory}/docs",
        f"  payments   {endpoints.payment}/docs",
    ]


def _summary(report: DemoReport) -> Table:
    columns = ("scenario", "expected", "actual", "ok")
    table = Table(*columns, title="Summary", title_justify="left", box=box.SIMPLE)
    for result in report.results:
        table.add_row(result.scenario.name, result.scenario.expected, result.actual, _ok(result.problems))
    load_test = report.load_test
    table.add_row(load_test.name, load_test.expected, load_test.actual, _ok(load_test.problems))
    return table


def _audit(report: DemoReport) -> list[str]:
    if report.audit is None:
        return ["  not made: set MONGODB_URL to the server with the services' databases"]
    return [f"  {line}" for line in describe(report.audit)]


def _verdict(problems: Collection[str]) -> list[str]:
    if problems:
        return ["Not as it should be:", *(f"  {problem}" for problem in problems)]
    return ["Every order ended as expected."]


def _ok(problems: Collection[str]) -> str:
    return "no" if problems else "yes"

"""What the demo found out, as text for the person at the terminal."""

from collections.abc import Collection

from rich import box
from rich.console import Console
from rich.table import Table

from cli.demo_report import Report
from events.catalogue import DEFAULT_CURRENCY
from events.types import format_money
from operations.endpoints import Endpoints, login_hint
from operations.timeline import lines
from verification.scenarios.books import NOTHING, Books
from verification.scenarios.burst import LoadTest
from verification.scenarios.stories import Outcome


def say(console: Console, *texts: str) -> None:
    """Print lines as they are: nothing in them is markup, and none is cut."""
    for text in texts:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_story(console: Console, number: int, outcome: Outcome) -> None:
    """Print a story with its timeline and how it ended."""
    story = outcome.story
    say(console, "", f"{number}. {story.name}: {story.about}", f"   order {outcome.order_id}")
    say(console, *lines(outcome.steps))
    say(console, f"   {outcome.actual}: {'; '.join(outcome.problems) or 'as expected'}")


def print_report(console: Console, report: Report, seconds: float, state: str) -> None:
    """Print all that is known after the stories: the burst, the summary, the books, where to look."""
    say(console, _speed(report.burst), "")
    console.print(_summary(report))
    console.print(_stock_book(report.before, report.after))
    console.print(_money_book(report.before, report.after))
    say(console, _audit(report), "")
    say(console, *where_to_look(report.stage.endpoints), "")
    say(console, *_verdict(report.problems))
    say(console, f"The whole run took {seconds:.1f} s. Its state is {state}.")


def where_to_look(endpoints: Endpoints) -> list[str]:
    """Name the pages to open."""
    return [
        "Where to look, while the stack runs (`saga up` keeps one running):",
        f"  broker     {endpoints.management}  ({login_hint(endpoints.rabbitmq)})",
        f"  orders     {endpoints.order}/docs",
        f"  inventory  {endpoints.inventory}/docs",
        f"  payments   {endpoints.payment}/docs",
    ]


def _speed(burst: LoadTest) -> str:
    return f"{burst.orders} orders in {burst.seconds:.2f} s: {burst.orders_per_second:.0f} orders/second"


def _summary(report: Report) -> Table:
    table = _table("Summary", "story", "expected", "actual", "ok")
    for outcome in report.outcomes:
        table.add_row(outcome.story.name, outcome.story.expected, outcome.actual, _ok(outcome.problems))
    burst = report.burst
    table.add_row(burst.name, burst.expected, burst.actual, _ok(burst.problems))
    return table


def _stock_book(before: Books, after: Books) -> Table:
    table = _table("Stock, before -> after", "warehouse", "product")
    for name in ("available", "reserved", "allocated", "sum"):
        table.add_column(name, justify="right")
    for (warehouse, product), old in sorted(before.stock.items()):
        new = after.stock.get((warehouse, product), NOTHING)
        changes = (
            (old.available, new.available),
            (old.reserved, new.reserved),
            (old.allocated, new.allocated),
            (old.total, new.total),
        )
        table.add_row(warehouse, product, *(f"{was} -> {now}" for was, now in changes))
    return table


def _money_book(before: Books, after: Books) -> Table:
    table = _table(f"Money, in {DEFAULT_CURRENCY}", "")
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right")
    rows = {
        "charged": (before.charged, after.charged),
        "refunded": (before.refunded, after.refunded),
        "charged - refunded": (before.kept, after.kept),
        "confirmed orders": (before.confirmed, after.confirmed),
    }
    for name, (old, new) in rows.items():
        table.add_row(name, *map(format_money, (old, new, new - old)))
    return table


def _audit(report: Report) -> str:
    if report.audit is None:
        return "What is stored was not audited: MONGODB_URL does not say where it is."
    judged = f"The audit of the databases judged {report.audit.judged} orders"
    return (
        f"{judged}; {len(report.audit_problems)} promises are broken."
        if report.audit_problems
        else (f"{judged}; no promise is broken.")
    )


def _verdict(problems: Collection[str]) -> list[str]:
    if problems:
        return ["Not as it should be:", *(f"  {problem}" for problem in problems)]
    return ["Every order ended as expected, and the books balance."]


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=box.SIMPLE)


def _ok(problems: Collection[str]) -> str:
    return "no" if problems else "yes"

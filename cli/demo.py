"""`saga demo`: plays every story on a real stack, then many orders at once, and checks the books."""

import asyncio
import json
import secrets
import signal
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from time import monotonic
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.client import CommandError, Json, Services, run
from cli.endpoints import broker_login, find, named_by_environment, state_directory
from cli.process import ProcessError
from cli.seed import put
from cli.stack import Endpoints, Stack, running_endpoints
from cli.stories import ONE_OF_MANY, STORIES, Outcome, Stage, Story, play, stock_for
from cli.tap import LAST_EVENTS, recording
from cli.timeline import detail, lines
from events.catalogue import DEFAULT_CURRENCY
from events.fields import format_money

READY_SECONDS = 30.0
AT_ONCE = 32
"""HTTP requests under way at the same time."""
PIPE_WIDTH = 110
"""Columns to print when no terminal says how many it has."""

EPILOG = """\b
Uses the stack of a running `saga up`, or the one that ORDER_URL, INVENTORY_URL, PAYMENT_URL and
RABBITMQ_URL name; otherwise it starts one and stops it at the end.

\b
Exit code 0 only if every order ended as expected and the books balance.

\b
Examples:
  saga demo
  saga demo --orders 1000 --timeout 300
  saga demo --json
"""


@dataclass(frozen=True, slots=True)
class Burst:
    """Many orders at once: how many ended how, in how many seconds."""

    orders: int
    ended: Counter[str]
    seconds: float
    problems: list[str]

    @property
    def orders_per_second(self) -> float:
        return self.ended.total() / self.seconds


@dataclass(frozen=True, slots=True)
class Level:
    """Units of one product in one warehouse."""

    available: int
    reserved: int
    allocated: int

    @property
    def total(self) -> int:
        return self.available + self.reserved + self.allocated


@dataclass(frozen=True, slots=True)
class Books:
    """Stock by warehouse and product, and the money in the currency of the demo."""

    stock: Mapping[tuple[str, str], Level]
    charged: Decimal
    refunded: Decimal
    confirmed: Decimal

    @property
    def kept(self) -> Decimal:
        """What was charged and not refunded."""
        return self.charged - self.refunded


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the demo found out."""

    stage: Stage
    outcomes: list[Outcome]
    burst: Burst
    before: Books
    after: Books

    @property
    def problems(self) -> list[str]:
        """Return everything that is not as it should be, a line each."""
        told = [
            f"{outcome.story.name}: {problem}" for outcome in self.outcomes for problem in outcome.problems
        ]
        books = stock_problems(self.before, self.after, self.units_sold)
        return [
            *told,
            *self.burst.problems,
            *books,
            *money_problems(self.before, self.after, self.amount_sold),
        ]

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

    def _confirmed(self) -> list[tuple[Story, int]]:
        one_each = [(outcome.story, 1) for outcome in self.outcomes if outcome.status == "confirmed"]
        return [*one_each, (ONE_OF_MANY, self.burst.ended["confirmed"])]


def demo(
    orders: Annotated[int, typer.Option(min=1, metavar="N", help="How many orders to place at once.")] = 200,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long to wait for the orders to end.")
    ] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Play every story on a real stack, then many orders at once, and check the books."""
    console = Console(quiet=as_json)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    with _stack(console) as endpoints:
        report = run(_demo(endpoints, console, orders, timeout))
    if as_json:
        typer.echo(json.dumps(to_json(report)))
    else:
        _print_report(console, report)
    if report.problems:
        raise typer.Exit(1)


def stock_problems(before: Books, after: Books, sold: Mapping[str, int]) -> list[str]:
    """Compare the stock before and after; `sold` are units by product id."""
    problems = []
    grown: Counter[str] = Counter()
    for (warehouse, product), level in before.stock.items():
        now = after.stock.get((warehouse, product), Level(0, 0, 0))
        grown[product] += now.allocated - level.allocated
        if now.total != level.total:
            problems.append(f"stock: {product} at {warehouse} was {level.total} units, is {now.total}")
        if now.reserved:
            problems.append(f"stock: {now.reserved} x {product} at {warehouse} are still reserved")
    for product, units in grown.items():
        if units != sold.get(product, 0):
            problems.append(f"stock: {units} x {product} were allocated, {sold.get(product, 0)} were sold")
    return problems


def money_problems(before: Books, after: Books, sold: Decimal) -> list[str]:
    """Compare the money kept, the orders confirmed and what the demo sold."""
    kept = after.kept - before.kept
    confirmed = after.confirmed - before.confirmed
    if kept == confirmed == sold:
        return []
    return [
        f"money: kept {format_money(kept)}, confirmed {format_money(confirmed)}, sold {format_money(sold)} "
        "should be equal (unless somebody else ordered meanwhile)"
    ]


def to_json(report: Report) -> Json:
    """Return the report as the object that `--json` prints."""
    at = report.stage.endpoints
    return {
        "ok": not report.problems,
        "problems": report.problems,
        "stories": [_story_json(outcome) for outcome in report.outcomes],
        "burst": {
            "orders": report.burst.orders,
            "ended": dict(report.burst.ended),
            "seconds": round(report.burst.seconds, 3),
            "ordersPerSecond": round(report.burst.orders_per_second, 1),
        },
        "books": {
            "currency": DEFAULT_CURRENCY,
            "before": _books_json(report.before),
            "after": _books_json(report.after),
        },
        "endpoints": {
            "order": at.order,
            "inventory": at.inventory,
            "payment": at.payment,
            "management": at.management,
        },
    }


@contextmanager
def _stack(console: Console) -> Iterator[Endpoints]:
    """Use the stack that is named or running, or start one for as long as the block lasts."""
    if named_by_environment() or running_endpoints(state_directory()):
        found = find()
        _say(console, f"using the services at {found.order}, {found.inventory} and {found.payment} ...")
        yield found
        return
    # A stop of the demo has to stop what it started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack = Stack(state_directory())
    try:
        yield _started(stack, console)
    finally:
        stack.stop()


def _started(stack: Stack, console: Console) -> Endpoints:
    """Start a stack.

    Raises:
        typer.Exit: it did not come up; what to do is told.
    """
    try:
        return stack.start(report=lambda what: _say(console, f"{what} ..."))
    except ProcessError as error:
        typer.echo(f"saga: {error}", err=True)
        raise typer.Exit(1) from None


async def _demo(endpoints: Endpoints, console: Console, orders: int, timeout: float) -> Report:
    async with Services(endpoints) as services:
        await services.ready(READY_SECONDS)
        stage = Stage(services, endpoints, f"demo-{secrets.token_hex(3)}", timeout)
        await put(services, stock_for(stage, orders))
        before = await _read_books(stage)
        outcomes = await _play_all(stage, console)
        burst = await _play_at_once(stage, orders, console)
        return Report(stage, outcomes, burst, before, await _read_books(stage))


async def _play_all(stage: Stage, console: Console) -> list[Outcome]:
    """Play all stories at the same time, and print them in order."""
    async with recording(stage.endpoints.rabbitmq, "#") as recorder:
        plays = [asyncio.create_task(play(stage, story, recorder)) for story in STORIES]
        outcomes = []
        for number, running in enumerate(plays, start=1):
            outcomes.append(await running)
            _print_story(console, number, outcomes[-1])
        return outcomes


async def _play_at_once(stage: Stage, count: int, console: Console) -> Burst:
    gate = asyncio.Semaphore(AT_ONCE)
    problems: list[str] = []

    async def order() -> str | None:
        """Place one order and wait for its last event; return its id if it was accepted."""
        try:
            async with gate:
                order_id = await ONE_OF_MANY.start(stage, ONE_OF_MANY)
        except CommandError as failure:
            problems.append(f"at once: {failure}")
            return None
        await recorder.whole(order_id, stage.timeout)
        progress.advance(bar)
        return order_id

    async def status(order_id: str) -> str:
        async with gate:
            return str((await stage.services.order(order_id))["status"])

    async with recording(stage.endpoints.rabbitmq, *(f"{kind}.#" for kind in LAST_EVENTS)) as recorder:
        with Progress(console=console) as progress:
            bar = progress.add_task(f"{count} orders at once", total=count)
            started = monotonic()
            placed = await asyncio.gather(*(order() for _ in range(count)))
            seconds = monotonic() - started
    ended = Counter(await asyncio.gather(*(status(order_id) for order_id in placed if order_id)))
    if ended["confirmed"] != count:
        problems.append(f"at once: {count} orders should be confirmed, but {_counted(ended)}")
    return Burst(count, ended, seconds, problems)


async def _read_books(stage: Stage) -> Books:
    products = sorted({*ONE_OF_MANY.takes, *(name for story in STORIES for name in story.takes)})
    stock, payments, orders = await asyncio.gather(
        asyncio.gather(*(stage.services.stock(stage.product(name)) for name in products)),
        stage.services.payment_books(),
        stage.services.confirmed_books(),
    )
    return Books(
        stock={
            (level["warehouseId"], level["productId"]): Level(
                level["available"], level["reserved"], level["allocated"]
            )
            for levels in stock
            for level in levels
        },
        charged=_amount(payments, "charged"),
        refunded=_amount(payments, "refunded"),
        confirmed=_amount(orders, "confirmed"),
    )


def _amount(books: list[Json], name: str) -> Decimal:
    return sum((Decimal(book[name]) for book in books if book["currency"] == DEFAULT_CURRENCY), Decimal(0))


def _counted(ended: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in ended.items()) or "none was accepted"


def _story_json(outcome: Outcome) -> Json:
    return {
        "name": outcome.story.name,
        "orderId": outcome.order_id,
        "expected": outcome.story.expected,
        "actual": outcome.actual,
        "ok": not outcome.problems,
        "timeline": [
            {
                "milliseconds": step.milliseconds,
                "service": step.service,
                "event": step.event.type,
                "detail": detail(step.event),
            }
            for step in outcome.steps
        ],
    }


def _books_json(books: Books) -> Json:
    return {
        "stock": [
            {"warehouseId": warehouse, "productId": product, **asdict(level)}
            for (warehouse, product), level in books.stock.items()
        ],
        "charged": format_money(books.charged),
        "refunded": format_money(books.refunded),
        "confirmed": format_money(books.confirmed),
    }


def _say(console: Console, *texts: str) -> None:
    """Print lines as they are: nothing in them is markup, and none is cut."""
    for text in texts:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_story(console: Console, number: int, outcome: Outcome) -> None:
    _say(
        console, "", f"{number}. {outcome.story.name}: {outcome.story.about}", f"   order {outcome.order_id}"
    )
    _say(console, *lines(outcome.steps))
    verdict = "as expected" if not outcome.problems else "; ".join(outcome.problems)
    _say(console, f"   {outcome.actual}: {verdict}")


def _print_report(console: Console, report: Report) -> None:
    burst = report.burst
    _say(
        console,
        f"{burst.orders} orders in {burst.seconds:.2f} s: {burst.orders_per_second:.0f} orders/second",
        "",
    )
    console.print(_summary(report))
    console.print(_stock_book(report.before, report.after))
    console.print(_money_book(report.before, report.after))
    _say(console, *_where_to_look(report.stage.endpoints), "")
    if report.problems:
        _say(console, "Not as it should be:", *(f"  {problem}" for problem in report.problems))
    else:
        _say(console, "Every order ended as expected, and the books balance.")


def _summary(report: Report) -> Table:
    table = Table("story", "expected", "actual", "ok", title="Summary", title_justify="left", box=box.SIMPLE)
    for outcome in report.outcomes:
        table.add_row(outcome.story.name, outcome.story.expected, outcome.actual, _ok(outcome.problems))
    burst = report.burst
    expected = f"{burst.orders} {ONE_OF_MANY.status}"
    table.add_row(f"{burst.orders} orders at once", expected, _counted(burst.ended), _ok(burst.problems))
    return table


def _stock_book(before: Books, after: Books) -> Table:
    table = Table(title="Stock, before -> after", title_justify="left", box=box.SIMPLE)
    for name in ("warehouse", "product"):
        table.add_column(name)
    for name in ("available", "reserved", "allocated", "sum"):
        table.add_column(name, justify="right")
    for (warehouse, product), level in sorted(before.stock.items()):
        now = after.stock.get((warehouse, product), Level(0, 0, 0))
        changes = (
            (getattr(level, name), getattr(now, name))
            for name in ("available", "reserved", "allocated", "total")
        )
        table.add_row(warehouse, product, *(f"{old} -> {new}" for old, new in changes))
    return table


def _money_book(before: Books, after: Books) -> Table:
    table = Table(title=f"Money, in {DEFAULT_CURRENCY}", title_justify="left", box=box.SIMPLE)
    table.add_column("")
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


def _where_to_look(endpoints: Endpoints) -> list[str]:
    login = broker_login(endpoints.rabbitmq)
    # Any other password is somebody's secret, and this text ends in logs.
    who = "user guest, password guest" if login.password == "guest" else f"user {login.user}"  # noqa: S105
    return [
        "Where to look, while the stack runs (`saga up` keeps one running):",
        f"  broker     {endpoints.management}  ({who})",
        f"  orders     {endpoints.order}/docs",
        f"  inventory  {endpoints.inventory}/docs",
        f"  payments   {endpoints.payment}/docs",
    ]


def _ok(problems: Collection[str]) -> str:
    return "no" if problems else "yes"

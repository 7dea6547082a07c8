"""The audit itself: reads everything once, judges case by case, and compares the stock last.

Documents change while they are read. A case is judged only if none of its documents has changed for a
while: whatever the moment at which each was read, together they are what was true during all of that while.

Stock and reservations change in one transaction, which also makes a new version of every level it touches.
The levels are read before and after the reservations: where the version is the same, no reservation has
changed there in between, and the sums must agree exactly. Where it is not, these places are read again, a few
times; what never stands still is not judged, and the report says so. A snapshot session would judge that,
too, but holds a transaction open on the server for as long as it reads, and ends after its lifetime limit,
60 s, if reading takes longer.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

from inventory_service.stock import StockKey
from verification.audit.reading import Databases, Reader, Row, Scope, reading
from verification.invariants.books import Money, MoneyBook, StockBook, StockLevel, moved
from verification.invariants.case import Json
from verification.invariants.rules import Finding, When, findings, forgotten, resting, settled

LOOKS = 4
"""How often a place that moves is read before it is left unjudged."""
TOLD_LIMIT = 100
"""How many offenders are kept with their events; more are only counted."""
PAUSE = 0.5
STRIDE = 200
"""How many order ids are judged between two signs of progress."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An order, a place or a currency that breaks a promise; for an order, the events recorded for it."""

    about: str
    findings: list[Finding]
    events: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What the audit has found."""

    orders: Counter[str] = field(default_factory=Counter)
    """All orders, by status."""
    judged: int = 0
    """Order ids that were judged, with an order or without."""
    moving: int = 0
    """Order ids that were not: something has changed there lately."""
    places: int = 0
    places_moving: int = 0
    """Levels of stock that were compared, and those that would not stand still for it."""
    offenders: list[Violation] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    """How often each rule was broken, by all offenders, even those that are not listed."""
    resting: list[str] = field(default_factory=list)
    """Orders whose refund a person has to settle, the first of them."""
    resting_count: int = 0
    forgotten: int = 0
    """Requests that were refused or ran out, and that no order is known for."""
    money: dict[str, Money] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.broken

    def rest(self, order_id: str) -> None:
        """Count an order whose refund a person has to settle."""
        self.resting_count += 1
        if len(self.resting) < TOLD_LIMIT:
            self.resting.append(order_id)

    def accuse(self, about: str, found: list[Finding], events: list[Json]) -> None:
        """Add what was found about an order, a place or a currency."""
        if found:
            self.broken.update(one.rule for one in found)
            if len(self.offenders) < TOLD_LIMIT:
                self.offenders.append(Violation(about, found, events))


def audit(
    databases: Databases,
    *,
    settled_for: timedelta = timedelta(seconds=30),
    at_rest: bool = False,
    scope: Scope | None = None,
    promised: Collection[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Report:
    """Judge what the databases hold, all of it or the orders of a scope.

    `at_rest` judges everything, and takes what is unfinished for wrong. `promised` are orders that somebody
    was told of, so that each has to be there, as each of a scope. `progress` is told how many documents were
    read, of about how many. Raises what the driver raises when the database is away.
    """
    started = monotonic()
    report = Report()
    when = When(clock(), settled_for, at_rest)
    products = scope.products if scope else None
    missing = set(scope.order_ids if scope else promised)
    with reading(databases) as reader:
        before = reader.shelves(products)
        rows = reader.some(scope.order_ids) if scope else reader.everything()
        total = 3 * len(scope.order_ids) if scope else reader.count()
        rows = _noted(rows, missing)
        stock, money = _judge_rows(rows, when, report, lambda done: progress(done, total))
        for finding in _stock_findings(reader, stock, before, products, when, report):
            report.accuse(finding.about, [finding], [])
    for order_id in sorted(missing):
        report.accuse(order_id, [Finding("no order is lost", order_id, "was accepted, and is unknown")], [])
    for finding in money.findings():
        report.accuse(finding.about, [finding], [])
    report.money = dict(money.by_currency)
    report.seconds = monotonic() - started
    return report


def audit_at_rest(
    databases: Databases,
    scope: Scope | None = None,
    promised: Collection[str] = (),
    within: float = 20.0,
) -> Report:
    """Judge everything, again until nothing is found or `within` seconds are over; return the last report.

    A service forgets what it has published only a few seconds later, so a system that has just come to rest
    may look unfinished for a moment.
    """
    deadline = monotonic() + within
    while True:
        report = audit(databases, at_rest=True, scope=scope, promised=promised)
        if report.ok or monotonic() >= deadline:
            return report
        sleep(PAUSE)


def _noted(rows: Iterator[Row], missing: set[str]) -> Iterator[Row]:
    """Strike the orders that are there off those that are missing."""
    for row in rows:
        if row.case.order or row.unreadable:
            missing.discard(row.case.key)
        yield row


def _judge_rows(
    rows: Iterator[Row], when: When, report: Report, progress: Callable[[int], None]
) -> tuple[StockBook, MoneyBook]:
    stock, money, read = StockBook(), MoneyBook(), 0
    for number, row in enumerate(rows):
        case = row.case
        if case.reservation:
            stock.add(case.reservation.state)
        if case.order:
            report.orders[case.order.state.status] += 1
        if row.unreadable:
            report.accuse(case.key, row.unreadable, case.events)
        elif settled(case, when):
            report.judged += 1
            money.add(case, when)
            report.accuse(case.key, findings(case, when), case.events)
            report.forgotten += forgotten(case)
            if resting(case):
                report.rest(case.key)
        else:
            report.moving += 1
        read += len(case.parts) + len(row.unreadable)
        if number % STRIDE == 0:
            progress(read)
    progress(read)
    return stock, money


def _stock_findings(
    reader: Reader,
    book: StockBook,
    before: Mapping[StockKey, StockLevel],
    products: Collection[str] | None,
    when: When,
    report: Report,
) -> Iterator[Finding]:
    """Compare the stock, and read anew what has moved meanwhile."""
    after = reader.shelves(products)
    moving = moved(before, after)
    report.places = len(after)
    yield from book.findings(after, {*after, *book.places} - moving)
    for _ in range(LOOKS - 1):
        if not moving:
            return
        chosen = {product for _, product in moving}
        before, book, after = reader.shelves(chosen), reader.stock_book(chosen), reader.shelves(chosen)
        still = moving & moved(before, after)
        yield from book.findings(after, moving - still)
        moving = still
    report.places_moving = len(moving)
    for place in sorted(moving) if when.at_rest else ():
        yield Finding("stock adds up", "/".join(place), "keeps changing, where all should be at rest")

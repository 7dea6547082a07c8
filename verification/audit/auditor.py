"""The audit: reads everything once, judges case by case, and compares the stock last.

Documents change while they are read. A case is judged only if none of its documents has changed for a
while: no matter when each was read, together they show what was stored during that whole while.

Stock and reservations change in one transaction, which also makes a new version of every level it touches.
The levels are read before and after the reservations: where the version is the same, no reservation has
changed there in between, and the sums must agree exactly. Where it differs, these levels are read again, a
few times; a level that never stands still is not judged, and the report counts it. A snapshot session could
judge that too, but it keeps a transaction open on the server for as long as it reads, and fails after the
transaction lifetime limit, 60 s.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

from events.catalogue import ORDER, PAYMENT
from inventory_service.stock import StockKey
from verification.audit.reader import Databases, DocumentRow, Reader, Scope, reading
from verification.audit.report import AuditReport
from verification.invariants.books import Book
from verification.invariants.money import MoneyBook
from verification.invariants.names import Finding, Invariant, Timing
from verification.invariants.order import (
    awaiting_manual_refund,
    findings,
    lost_orders,
    orphaned_request,
    settled,
)
from verification.invariants.stock import StockBook, StockLevel, changed_levels

MAX_READS = 4
"""How often a changing level is read before it is left unjudged."""
RETRY_PAUSE = 0.5
"""Seconds between two audits of a system that has just come to rest."""
PROGRESS_EVERY = 200
"""Order ids between two calls of `progress`."""


def audit(
    databases: Databases,
    *,
    settled_for: timedelta = timedelta(seconds=30),
    at_rest: bool = False,
    scope: Scope | None = None,
    promised: Collection[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AuditReport:
    """Judge what the databases hold, all of it or the orders of a scope.

    `at_rest` judges everything, and counts what is unfinished as wrong. `promised` are orders that a client
    was promised, so that each must exist, like each of a scope. `progress` gets how many documents were read,
    and about how many there are. The driver's exceptions pass through when the database is unreachable.
    """
    started = monotonic()
    report = AuditReport()
    timing = Timing(clock(), settled_for, at_rest)
    products = scope.products if scope else None
    missing = set(scope.order_ids if scope else promised)
    with reading(databases) as reader:
        before = reader.levels(products)
        rows = reader.some(scope.order_ids) if scope else reader.everything()
        total = 3 * len(scope.order_ids) if scope else reader.count()
        books = Book(ORDER), Book(PAYMENT)
        stock, money = _judge_rows(rows, timing, report, missing, books, lambda done: progress(done, total))
        found = list(_stock_findings(reader, stock, before, products, timing, report))
        if at_rest and scope is None:
            ledgers = reader.ledgers()
            found += [finding for book in books for finding in book.findings(ledgers[book.service])]
    found += lost_orders(missing)
    for finding in (*found, *money.findings()):
        report.add(finding.subject, [finding], [])
    report.money = dict(money.by_currency)
    report.seconds = monotonic() - started
    return report


def audit_at_rest(
    databases: Databases,
    scope: Scope | None = None,
    promised: Collection[str] = (),
    within: float = 20.0,
) -> AuditReport:
    """Judge everything, again until nothing is found or `within` seconds have passed; return the last report.

    A service forgets what it has published only a few seconds later, so a system that has just come to rest
    may look unfinished for a moment.
    """
    deadline = monotonic() + within
    while True:
        report = audit(databases, at_rest=True, scope=scope, promised=promised)
        if report.ok or monotonic() >= deadline:
            return report
        sleep(RETRY_PAUSE)


def _judge_rows(
    rows: Iterator[DocumentRow],
    timing: Timing,
    report: AuditReport,
    missing: set[str],
    books: tuple[Book, Book],
    progress: Callable[[int], None],
) -> tuple[StockBook, MoneyBook]:
    """Judge each case; return the books of all, and remove the orders that exist from `missing`."""
    stock, money, read = StockBook(), MoneyBook(), 0
    for number, row in enumerate(rows):
        case = row.case
        for book, part in zip(books, (case.order, case.payment), strict=True):
            if part:
                book.add(part.state)
        if case.reservation:
            stock.add(case.reservation.state)
        if case.order:
            report.orders[case.order.state.status] += 1
        if case.order or row.unreadable:
            missing.discard(case.order_id)
        if row.unreadable:
            report.add(case.order_id, row.unreadable, case.events)
        elif settled(case, timing):
            report.judged += 1
            money.add(case, timing)
            report.add(case.order_id, findings(case, timing), case.events)
            report.orphaned_requests += orphaned_request(case)
            if awaiting_manual_refund(case):
                report.add_manual_refund(case.order_id)
        else:
            report.changing += 1
        read += len(case.parts) + len(row.unreadable)
        if number % PROGRESS_EVERY == 0:
            progress(read)
    progress(read)
    return stock, money


def _stock_findings(
    reader: Reader,
    book: StockBook,
    before: Mapping[StockKey, StockLevel],
    products: Collection[str] | None,
    timing: Timing,
    report: AuditReport,
) -> Iterator[Finding]:
    """Compare the stock, and read again what has changed meanwhile."""
    after = reader.levels(products)
    changing = changed_levels(before, after)
    report.levels = len(after)
    yield from book.findings(after, {*after, *book.keys} - changing)
    for _ in range(MAX_READS - 1):
        if not changing:
            return
        chosen = {product for _, product in changing}
        before, book, after = reader.levels(chosen), reader.stock_book(chosen), reader.levels(chosen)
        still = changing & changed_levels(before, after)
        yield from book.findings(after, changing - still)
        changing = still
    report.levels_changing = len(changing)
    for key in sorted(changing) if timing.at_rest else ():
        yield Finding(
            Invariant.STOCK_ADDS_UP, "/".join(key), "keeps changing, though everything should be at rest"
        )

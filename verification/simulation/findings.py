"""Asks the invariants of a schedule that has come to rest.

The tables become the audit's cases and books, so that each schedule also tests the audit. Added is what only
this world shows: the provider's ledger, every message that was published, and the dead-letter queues.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from events.catalogue import INVENTORY, ORDER, PAYMENT
from operations.registry import TOPOLOGIES
from verification.invariants import order, world
from verification.invariants.case import Case, Snapshot
from verification.invariants.money import MoneyBook
from verification.invariants.names import Finding, Invariant, Timing
from verification.invariants.stock import StockBook, StockLevel
from verification.simulation.services import Environment

DUPLICATING = {"kill", "cut", "confirm lost", "duplicate", "drain", "poison", "wipe"}
"""Faults after which a message may be published once more, and so be there twice."""


def findings(environment: Environment, promised: Collection[str], now: datetime) -> list[Finding]:
    """Return every invariant that is broken; `promised` are the orders that clients rely on."""
    timing = Timing(now, at_rest=True)
    cases = [_case(environment, order_id, now) for order_id in _order_ids(environment)]
    known = environment.tables[ORDER].keys()
    return [
        *environment.crashes,
        *(finding for case in cases for finding in order.findings(case, timing)),
        *order.lost_orders(promised - known),
        *_book_findings(environment, cases, timing),
        *_published_findings(environment, cases),
        *_provider_findings(environment, cases),
        *_dead_letter_findings(environment),
    ]


def _order_ids(environment: Environment) -> list[str]:
    return sorted(set[str]().union(*environment.tables.values()))


def _case(environment: Environment, order_id: str, now: datetime) -> Case:
    def snapshot(service: str) -> Snapshot[Any] | None:
        row = environment.tables[service].get(order_id)
        if row is None:
            return None
        records = row.journal.values()
        return Snapshot(
            row.state,
            now,
            [json.loads(body) for record in records for body in record.emitted],
            row.updated_at if any(record.unpublished for record in records) else None,
        )

    return Case(order_id, snapshot(ORDER), snapshot(INVENTORY), snapshot(PAYMENT))


def _book_findings(environment: Environment, cases: list[Case], timing: Timing) -> Iterator[Finding]:
    stock, money = StockBook(), MoneyBook()
    for case in cases:
        money.add(case, timing)
        if case.reservation:
            stock.add(case.reservation.state)
    levels = {
        key: StockLevel(level.available, level.reserved, level.allocated, level.owned, level.version)
        for key, level in environment.stock_table.levels.items()
    }
    yield from stock.findings(levels, {*levels, *stock.keys})
    yield from money.findings()


def _published_findings(environment: Environment, cases: list[Case]) -> Iterator[Finding]:
    bodies: dict[str, bytes] = {}
    last: dict[str, set[str]] = defaultdict(set)
    for message in environment.broker.published:
        if not message.message_id:
            continue
        if bodies.setdefault(message.message_id, message.body) != message.body:
            text = f"was published with two bodies, one of them {message.body!r}"
            yield Finding(Invariant.ONE_BODY_PER_ID, message.message_id, text)
        if message.type in order.LAST_EVENTS.values():
            order_id = message.body.partition(b'"orderId":"')[2].partition(b'"')[0].decode()
            last[order_id].add(message.message_id)
    for case in cases:
        yield from world.recorded_before_published(case, last.pop(case.order_id, set()))
        # What was saved, but not published before the broker lost its cause, is never published.
        if "wipe" not in environment.adversary.fault_counts:
            yield from world.events_are_published(case, case.events, bodies)
    for order_id, strange in last.items():
        yield from world.recorded_before_published(Case(order_id), strange)


def _provider_findings(environment: Environment, cases: list[Case]) -> Iterator[Finding]:
    ledger = environment.ledger
    for text in ledger.broken:
        yield Finding(Invariant.PROVIDER_AGREES, "the provider", text)
    charged = {f"order-{case.order_id}" for case in cases if case.payment}
    for key in sorted(ledger.charges.keys() - charged):
        yield Finding(Invariant.PROVIDER_AGREES, "the provider", f"was asked for {key}, which no payment is")
    for case in cases:
        order_id = case.order_id
        yield from world.provider_agrees(case, ledger.charged(order_id) - ledger.refunded(order_id))
        unasked = f"order-{order_id}" in ledger.approved_late or order_id in environment.paid_directly
        yield from world.refund_is_awaited(case, charged_unasked=unasked)


def _dead_letter_findings(environment: Environment) -> Iterator[Finding]:
    expected = environment.expected_dead_letters | environment.possible_dead_letters
    found: Counter[tuple[str, bytes]] = Counter()
    for topology in TOPOLOGIES.values():
        queue = topology.dead_letter_queue
        for queued in environment.broker.queues[queue].waiting:
            message = queued.message
            known = [(name, tag) for name, tag in expected if name == queue and tag in message.body]
            found.update(known)
            if not known:
                text = f"holds {message.routing_key}, {dict(message.headers)}"
                yield Finding(Invariant.DEAD_LETTERS_ARE_POISON, queue, text)
    for queue, tag in sorted(environment.expected_dead_letters - found.keys()):
        yield Finding(Invariant.DEAD_LETTERS_ARE_POISON, queue, f"lacks {tag!r}")
    if not DUPLICATING & environment.adversary.fault_counts.keys():
        for (queue, tag), times in found.items():
            if times > 1:
                text = f"holds {tag!r} {times} times, and no fault has duplicated it"
                yield Finding(Invariant.DEAD_LETTERS_ARE_POISON, queue, text)

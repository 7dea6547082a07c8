"""What must hold for one order in a simulated world, which sees more than any database shows.

There the provider's ledger can be read, and so can every message that was published.
"""

from collections.abc import Collection, Container, Iterable, Iterator
from decimal import Decimal

from verification.invariants.case import Case, Json
from verification.invariants.names import Finding, Invariant
from verification.invariants.order import awaiting_manual_refund, kept, last_events


def recorded_before_published(case: Case, published: Collection[str]) -> Iterator[Finding]:
    """Check that each last event published for this order, by id, is in the order's journal."""
    recorded = {event["eventId"] for event in last_events(case.order.emitted if case.order else ())}
    for event_id in sorted({*published} - recorded):
        text = f"has published the last event {event_id}, which is not recorded"
        yield Finding(Invariant.RECORDED_BEFORE_PUBLISHED, case.order_id, text)


def events_are_published(
    case: Case, recorded: Iterable[Json], published: Container[str]
) -> Iterator[Finding]:
    """Check that each of these recorded events was published, by id."""
    for event in recorded:
        if event["eventId"] not in published:
            text = f"has recorded its {event['type']} {event['eventId']}, which was never published"
            yield Finding(Invariant.EVENTS_ARE_PUBLISHED, case.order_id, text)


def provider_agrees(case: Case, provider_keeps: Decimal) -> Iterator[Finding]:
    """Compare what the provider keeps of a customer's money with what the payment says."""
    payment = case.payment.state if case.payment else None
    if provider_keeps != kept(payment):
        status = payment.status if payment else "missing"
        text = f"has {provider_keeps} at the provider, and {kept(payment)} by its payment, which is {status}"
        yield Finding(Invariant.PROVIDER_AGREES, case.order_id, text)


def refund_is_awaited(case: Case, *, charged_unasked: bool) -> Iterator[Finding]:
    """Check that an order waits for a refund that was refused.

    `charged_unasked`: the customer was charged directly, or after the order had failed. No order waits then.
    """
    if case.order is None or charged_unasked or not awaiting_manual_refund(case):
        return
    if case.order.state.status != "refundPending":
        text = f"is {case.order.state.status}, and does not wait for its refund, which was refused"
        yield Finding(Invariant.REFUND_IS_AWAITED, case.order_id, text)

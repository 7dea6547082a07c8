"""What a replay of dead letters would do, worked out on the service's own data without changing any of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from events.catalogue import Event, PaymentRefundRequested
from events.codec import InvalidEvent
from operations.client import Json
from operations.dead_letters.dead_letter import DeadLetter, readable
from operations.dead_letters.dry_run import dry_run
from operations.errors import CommandFailed
from operations.registry import SPECS
from payment_service.payment import Payment
from saga.clock import utc_now
from saga.errors import OutOfOrder, Unavailable
from saga.messaging.message import Delivery, read_event, replayed
from saga.messaging.topology import Topology
from saga.reactions.aggregate import Aggregate
from saga.reactions.step import Outcome
from saga.reactions.store import Store
from saga.settings import read as read_settings
from saga.spec import ServiceSpec

DryRun = tuple[Any, Outcome[Any]]


@dataclass(frozen=True, slots=True)
class ReplayPreview:
    """What would become of one letter.

    `result` is `runs`, `repeats` (handled already), `ignored`, `waits` (for an order that is not known yet),
    `fails` or `dead_lettered`; `before` and `after` are statuses in the service, None for an unknown order;
    `publishes` are event types; `asks_provider` says that the payment provider's answer follows.
    """

    result: str
    before: str | None = None
    after: str | None = None
    publishes: Sequence[str] = ()
    reason: str | None = None
    asks_provider: bool = False


async def preview_replay(
    letters: Sequence[DeadLetter], service: str, mongodb_url: str, *, check_publisher: bool
) -> list[ReplayPreview]:
    """Return what would become of each letter, if they were replayed in this order.

    `check_publisher`: the service looks at who published.

    Raises:
        CommandFailed: the service's database cannot be reached.
    """
    spec = SPECS[service]
    settings = read_settings(spec.settings)
    declared = spec.topology(settings.retry_delays)
    asked = [_read(letter, declared, check_publisher=check_publisher) for letter in letters]
    events = [event for event in asked if not isinstance(event, InvalidEvent)]
    with spec.connected(settings, mongodb_url) as store:
        try:
            outcomes = iter(await _dry_run_each(spec, store, events))
        except Unavailable as why:
            # What the driver adds behind the first comma is a page about every server it knows of.
            raise CommandFailed(
                f"what a replay would do depends on {settings.database}, and {str(why).split(',')[0]}: "
                "is the stack up? MONGODB_URL names another database"
            ) from None
    return [
        ReplayPreview("dead_lettered", reason=str(event))
        if isinstance(event, InvalidEvent)
        else _preview(event, *next(outcomes))
        for event in asked
    ]


def as_fields(preview: ReplayPreview) -> Json:
    """Return a preview for scripts."""
    return {
        "result": preview.result,
        "before": preview.before,
        "after": preview.after,
        "publishes": list(preview.publishes),
        "reason": preview.reason,
        "asksProvider": preview.asks_provider,
    }


def sentence(preview: ReplayPreview) -> str:
    """Say in a line what would happen."""
    events = ", ".join(preview.publishes)
    going_on = ", then goes on asking the provider" if preview.asks_provider else ""
    match preview.result:
        case "runs":
            publishes = f", publishes {events}" if events else ""
            asks = ", then asks the provider" if preview.asks_provider else ""
            text = f"would run: {preview.before or 'unknown'} -> {preview.after}{publishes}{asks}"
        case "repeats":
            text = f"handled already ({preview.before}): publishes again {events or 'nothing'}{going_on}"
        case "ignored":
            text = f"would be ignored: nothing to do, it is {preview.before or 'unknown'}{going_on}"
        case "waits":
            text = f"would wait in the delay queues for the order to become known: {preview.reason}"
        case "fails":
            text = f"would fail, be retried, and be dead-lettered again: {preview.reason}"
        case _:
            text = f"would be dead-lettered again: {preview.reason}"
    return readable(text)


def _read(letter: DeadLetter, topology: Topology, *, check_publisher: bool) -> Event | InvalidEvent:
    message = replayed(letter.delivery, topology)
    delivery = Delivery(
        tag=letter.delivery.tag,
        exchange=message.exchange,
        routing_key=message.routing_key,
        body=message.body,
        headers=message.headers,
    )
    try:
        return read_event(delivery, topology, utc_now(), check_publisher=check_publisher)
    except InvalidEvent as error:
        return error


async def _dry_run_each(
    spec: ServiceSpec[Any, Any], store: Store[Any, Any], events: Sequence[Event]
) -> list[DryRun]:
    try:
        return await dry_run(spec.name, spec.reactions, store, events, utc_now)
    except Unavailable:
        raise
    except Exception as error:
        # As the service itself does: only the event that is to blame pays for it.
        if len(events) > 1:
            return [one for event in events for one in await _dry_run_each(spec, store, [event])]
        return [(None, Outcome("failed", None, error=error))]


def _preview(event: Event, before: Aggregate | None, outcome: Outcome[Any]) -> ReplayPreview:
    after: Aggregate | None = outcome.state
    if outcome.error is not None:
        result = "waits" if isinstance(outcome.error, OutOfOrder) else "fails"
    else:
        result = {"handled": "runs", "repeated": "repeats"}.get(outcome.name, "ignored")
    return ReplayPreview(
        result,
        before.status if before else None,
        after.status if after else None,
        [event.type for event in (*outcome.emitted, *outcome.relayed)],
        f"{type(outcome.error).__name__}: {outcome.error}" if outcome.error is not None else None,
        outcome.error is None and isinstance(after, Payment) and _asks(event, after),
    )


def _asks(event: Event, payment: Payment) -> bool:
    # A refund is left to the message that asked for it, and once refused to the sweep; see the application.
    refunds = isinstance(event, PaymentRefundRequested) and payment.refund_attempt == 1
    return payment.status == "charging" or (payment.in_progress and refunds)

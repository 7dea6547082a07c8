"""`saga publish`: validates one event and publishes it."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.order import describe
from events.catalogue import EVENT_TYPES, Event
from events.codec import MAX_BYTES, InvalidEvent, from_json, parse_json
from events.identity import with_defaults
from operations.client import Json, SagaClient
from operations.endpoints import Endpoints, find
from operations.publishing import send

EPILOG = """\b
Examples:
  saga publish InventoryReservationRequested --wait 10 --data '{
    "orderId": "o-1", "userId": "u-1", "totalAmount": "25.00",
    "items": [{"productId": "tea", "quantity": 2}]}'
  saga publish PaymentRefundRequested < refund.json

\b
Fields with defaults: type (EVENT), eventId (derived from the content, so that publishing the same event again
changes nothing), correlationId (the order id), occurredAt (now).

\b
Events:
  """ + "\n  ".join(EVENT_TYPES)


def publish(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event's type, one of the list below.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="The event's fields.  [default: read from standard input]"),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Wait for the order's end; exit code 1 if it has not ended by then.",
        ),
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was published (and the order, with --wait) as JSON.")
    ] = False,
) -> None:
    """Publish an event to the exchange of the service that publishes events of its type.

    An event with an invalid or unknown field is not published, and the field is named.
    """
    complete = with_defaults(read_event(event, _text(data)), datetime.now(UTC))
    asyncio.run(_publish(complete, wait, as_json))


def read_event(kind: str, text: str) -> Event:
    """Read an event of a given type from JSON that may leave `type` out.

    Raises:
        typer.BadParameter: the type is unknown, or the JSON is no such event; names the field.
    """
    if kind not in EVENT_TYPES:
        raise typer.BadParameter(
            f"{kind!r} is not an event type; the types are {', '.join(EVENT_TYPES)}", param_hint="EVENT"
        )
    try:
        fields = parse_json(text)
        if isinstance(fields, dict) and fields.setdefault("type", kind) != kind:
            raise InvalidEvent(f"type: {fields['type']!r} differs from EVENT, {kind}")
        return from_json(fields, forbid_unknown=True)
    except InvalidEvent as error:
        raise typer.BadParameter(str(error), param_hint="--data") from None


def _text(data: str | None) -> str:
    """Return the event's JSON, from the option or from standard input."""
    if data is not None:
        return data
    if sys.stdin.isatty():
        raise typer.BadParameter(
            "missing; give the event's JSON here or on standard input", param_hint="--data"
        )
    return sys.stdin.read(MAX_BYTES + 1)


async def _publish(event: Event, wait: float, as_json: bool) -> None:
    endpoints = find()
    message = await send(endpoints.rabbitmq, event)
    published = {
        "eventId": event.event_id,
        "type": event.type,
        "orderId": event.order_id,
        "correlationId": event.correlation_id,
        "exchange": message.exchange,
        "routingKey": message.routing_key,
    }
    if not as_json:
        typer.echo(f"published {event.type} {event.event_id} to {message.exchange} as {message.routing_key}")
    order = await _ended(endpoints, event.order_id, wait) if wait else None
    if as_json:
        typer.echo(json.dumps({**published, "order": order} if order else published))
    elif order:
        typer.echo("\n".join(describe(order)))


async def _ended(endpoints: Endpoints, order_id: str, wait: float) -> Json:
    async with SagaClient(endpoints) as services:
        return await services.ended(order_id, wait)

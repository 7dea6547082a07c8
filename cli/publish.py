"""`saga publish`: publish one event by hand, validated first."""

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.console import run
from cli.order import describe
from events.catalogue import EVENT_TYPES, Event
from events.codec import MAX_BYTES, InvalidEvent, from_json, parse_json
from events.identity import with_defaults
from operations.client import Json, Services
from operations.endpoints import Endpoints, find
from operations.publishing import send

EPILOG = """\b
Examples:
  saga publish InventoryReservationRequested --wait 10 --data '{
    "orderId": "o-1", "userId": "u-1", "totalAmount": "25.00",
    "items": [{"productId": "tea", "quantity": 2}]}'
  saga publish PaymentRefundRequested < refund.json

\b
Left out, these are filled in: type (from EVENT), eventId (from the content, so that
publishing the same again changes nothing), correlationId (the order id), occurredAt (now).

\b
Events:
  """ + "\n  ".join(EVENT_TYPES)


def publish(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event's type; see below.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="The event's fields; without it, standard input is read."),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Wait until the order has ended; exit code 1 if it has not by then.",
        ),
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was published (and the order, with --wait) as JSON.")
    ] = False,
) -> None:
    """Publish an event, in the name of the service that publishes events of its type.

    Fields are checked strictly first: a wrong or unknown one is named, and nothing is published.
    """
    complete = with_defaults(read_event(event, _text(data)), datetime.now(UTC))
    run(_publish(complete, wait, as_json))


def read_event(kind: str, text: str) -> Event:
    """Read an event of a given type from JSON that may leave `type` out.

    Raises:
        typer.BadParameter: the type is unknown, or the JSON is no such event; names the field.
    """
    if kind not in EVENT_TYPES:
        raise typer.BadParameter(
            f"{kind!r} is no event; known are {', '.join(EVENT_TYPES)}", param_hint="EVENT"
        )
    try:
        fields = parse_json(text)
        if isinstance(fields, dict) and fields.setdefault("type", kind) != kind:
            raise InvalidEvent(f"type: is {fields['type']!r}, but the command says {kind}")
        return from_json(fields, forbid_unknown=True)
    except InvalidEvent as error:
        raise typer.BadParameter(str(error), param_hint="--data") from None


def _text(data: str | None) -> str:
    """Return the event's JSON, from the option or from standard input."""
    if data is not None:
        return data
    if sys.stdin.isatty():
        raise typer.BadParameter("give the event's JSON here or on standard input", param_hint="--data")
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
    async with Services(endpoints) as services:
        return await services.ended(order_id, wait)

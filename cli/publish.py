"""`saga publish`: publish one event by hand, validated first."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import aio_pika
import typer
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity, DeliveryError

from cli.client import CommandError, Json, Services, run
from cli.endpoints import find
from cli.order import describe
from cli.state import Endpoints
from cli.tap import connected, missing_exchange
from events.catalogue import EVENT_TYPES, Event
from events.codec import MAX_BYTES, InvalidEvent, from_json, parse_json
from events.identity import introduced
from messaging.calls import refusal
from messaging.message import Message, to_message
from messaging.users import user_of

CONFIRM_SECONDS = 10.0

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
    complete = introduced(read_event(event, _text(data)), datetime.now(UTC))
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


async def send(amqp_url: str, event: Event) -> Message:
    """Publish a complete event, and wait until the broker has it and a service will get it.

    Raises:
        CommandError: the broker or the exchange is missing, or no queue takes the event.
    """
    message = to_message(event)
    async with connected(amqp_url) as channel:
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                exchange = await channel.get_exchange(message.exchange)
                await exchange.publish(
                    as_amqp(message, amqp_url), message.routing_key, mandatory=message.mandatory
                )
        except ChannelNotFoundEntity:
            raise CommandError(missing_exchange(message.exchange)) from None
        except DeliveryError:
            raise CommandError(
                f"no queue takes {event.type} from {message.exchange}: is the stack up? "
                f"{' and '.join(event.handled_by)} must have been started once"
            ) from None
        except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
            raise CommandError(
                refusal(error)
                or f"the broker did not confirm the event ({error}); publishing it again is safe"
            ) from None
    return message


def as_amqp(message: Message, amqp_url: str) -> aio_pika.Message:
    """Return a message in the client library's form, persistent, in the name of who logs in with this URL."""
    return aio_pika.Message(
        message.body,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        type=message.type,
        timestamp=message.timestamp,
        app_id=message.app_id,
        user_id=user_of(amqp_url),
        headers=dict(message.headers),
    )


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

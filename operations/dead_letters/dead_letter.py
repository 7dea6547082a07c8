"""A dead letter as an operator sees it: what it is, why it was dead-lettered, and how to publish it again."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, NoReturn

from events.codec import MAX_BYTES
from events.types import format_time
from operations.client import Json
from saga.messaging.message import (
    EVENT_ID,
    FAILED_AT,
    REASON,
    Delivery,
    broker_dead_lettering,
    origin,
    replayed,
)
from saga.messaging.topology import Topology

NO_REASON = "no reason given"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message in a service's dead-letter queue."""

    topology: Topology
    delivery: Delivery

    @property
    def id(self) -> str:
        """The message's id, else the event id it was given, else one made from its body."""
        known = self.delivery.message_id or self.delivery.headers.get(EVENT_ID)
        return str(known or f"body-{sha256(self.delivery.body).hexdigest()[:12]}")

    @property
    def origin(self) -> tuple[str, str]:
        """The exchange and routing key it was first published with."""
        return origin(self.delivery, self.topology)

    @property
    def type(self) -> str:
        """The event type its routing key names."""
        return self.origin[1].partition(".")[0]

    @property
    def order_id(self) -> str | None:
        """The order that the body names, where it can be read so far."""
        fields = self.json
        order_id = fields.get("orderId") if isinstance(fields, dict) else None
        return order_id if isinstance(order_id, str) else None

    @property
    def json(self) -> object:
        """The body as parsed JSON; None if it is none."""
        try:
            return json.loads(self.delivery.body)
        except (ValueError, RecursionError):
            return None

    @property
    def text(self) -> str:
        """The body as it is, if that can be read and pasted; else as Python writes bytes."""
        payload, encoding = _payload(self.delivery.body)
        pasteable = all(character.isprintable() or character in "\r\n\t" for character in payload)
        return payload if encoding == "string" and pasteable else repr(self.delivery.body)

    @property
    def reason(self) -> str:
        """Why it was dead-lettered."""
        if death := broker_dead_lettering(self.delivery):
            long = f", longer than {MAX_BYTES} bytes" if len(self.delivery.body) > MAX_BYTES else ""
            return f"dead-lettered by the broker: {death.get('reason')}{long}"
        return str(self.delivery.headers.get(REASON) or NO_REASON)

    @property
    def dead_lettered_at(self) -> str | None:
        """When that was, as RFC 3339 in UTC."""
        if death := broker_dead_lettering(self.delivery):
            moment = death.get("time")
            return format_time(moment) if isinstance(moment, datetime) else None
        moment = self.delivery.headers.get(FAILED_AT)
        return moment if isinstance(moment, str) else None

    @property
    def mark(self) -> tuple[str, str | None, bytes]:
        """What tells it from the others of its queue, exact copies aside, whenever it is read."""
        return self.id, self.dead_lettered_at, self.delivery.body


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters are meant; a criterion that is None fits all."""

    type: str | None = None
    order: str | None = None
    reason: str | None = None
    """A part of the reason, in capitals or not."""
    id: str | None = None

    def fits(self, letter: DeadLetter) -> bool:
        """Tell whether a letter is meant."""
        return (
            self.type in (None, letter.type)
            and self.order in (None, letter.order_id)
            and self.id in (None, letter.id)
            and (self.reason is None or self.reason.casefold() in letter.reason.casefold())
        )


def summary(letter: DeadLetter) -> Json:
    """Return a letter in short, for scripts."""
    exchange, key = letter.origin
    return {
        "id": letter.id,
        "service": letter.topology.service,
        "type": letter.type,
        "orderId": letter.order_id,
        "reason": letter.reason,
        "attempts": letter.delivery.attempts,
        "deadLetteredAt": letter.dead_lettered_at,
        "exchange": exchange,
        "routingKey": key,
    }


def headline(letter: DeadLetter) -> str:
    """Say in a line which letter this is."""
    return readable(f"{letter.id}  {letter.type or 'no type'}  order {letter.order_id or 'unknown'}")


def cause(letter: DeadLetter) -> str:
    """Say in a line what happened to it."""
    attempts = letter.delivery.attempts
    tried = f", {attempts} {'retry' if attempts == 1 else 'retries'}" if attempts else ""
    return readable(f"{letter.dead_lettered_at or 'no time'}{tried}: {letter.reason}")


def readable(text: str) -> str:
    """Return text that does nothing to a terminal but appear on it, in one line."""
    return text if text.isprintable() else repr(text)


def body(letter: DeadLetter) -> str:
    """Render the body: JSON laid out in lines, where that does not write any number differently."""
    try:
        fields = json.loads(letter.delivery.body, parse_float=_refuse)
        return json.dumps(fields, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return letter.text


def described(letter: DeadLetter, order: str) -> list[str]:
    """Render a letter whole, a line a field and then the body; `order` says how its order stands."""
    exchange, key = letter.origin
    fields = {
        "id": letter.id,
        "type": letter.type,
        "reason": letter.reason,
        "retries": str(letter.delivery.attempts),
        "since": letter.dead_lettered_at or "no time given",
        "came by": f"{exchange}, key {key}",
        "order": f"{letter.order_id}: {order}" if letter.order_id else order,
    }
    lines = [f"{name + ':':<10} {readable(value)}" for name, value in fields.items()]
    headers = [readable(f"  {name}: {value}") for name, value in sorted(letter.delivery.headers.items())]
    return [*lines, "headers:", *headers, "body:", body(letter)]


def whole(letter: DeadLetter) -> Json:
    """Return a letter with all its headers and its body, for scripts."""
    payload, encoding = _payload(letter.delivery.body)
    headers = _plain(letter.delivery.headers)
    return {**summary(letter), "headers": headers, "payload": payload, "payloadEncoding": encoding}


def publishable(letter: DeadLetter) -> Json:
    """Return the message that a replay publishes, as the management API's `publish` takes it."""
    message = replayed(letter.delivery, letter.topology)
    properties = {
        "delivery_mode": 2,
        "content_type": "application/json",
        "message_id": message.message_id,
        "correlation_id": message.correlation_id,
        "type": message.type,
        "app_id": message.app_id,
        "timestamp": round(message.timestamp.timestamp()) if message.timestamp else None,
        "headers": dict(message.headers),
    }
    payload, encoding = _payload(message.body)
    return {
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "properties": {name: value for name, value in properties.items() if value is not None},
        "payload": payload,
        "payload_encoding": encoding,
    }


def _plain(value: object) -> Any:
    """Return a header's value as JSON can say it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _refuse(number: str) -> NoReturn:
    raise ValueError(number)


def _payload(body: bytes) -> tuple[str, str]:
    try:
        return body.decode(), "string"
    except UnicodeDecodeError:
        return b64encode(body).decode(), "base64"

"""Messages: an event as a message to publish, a delivery as an event, and the copies of a message."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from events.catalogue import EVENT_TYPES, Event
from events.codec import InvalidEvent, decode
from events.encoded import EncodedEvent
from events.identity import with_defaults
from events.types import ID_PATTERN, format_time
from saga.messaging.topology import QUARANTINE_KEY, Topology, exchange_of, home_exchange
from saga.messaging.users import may_publish

ATTEMPTS = "x-saga-attempts"
REASON = "x-saga-reason"
ORIGIN_EXCHANGE = "x-saga-exchange"
ORIGIN_KEY = "x-saga-routing-key"
ORIGIN_USER = "x-saga-user"
EVENT_ID = "x-saga-event-id"
FAILED_AT = "x-saga-failed-at"
TRACE = "traceparent"

KEPT = frozenset({ATTEMPTS, REASON, EVENT_ID, FAILED_AT, TRACE})
"""The headers that a copy keeps, and no others: all headers of a message have to fit into one frame, and the
copy has more of its own."""

MAX_REASON = 500
MAX_HEADER = 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""AMQP has no earlier times."""
MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str | None = None
    correlation_id: str | None = None
    type: str | None = None
    app_id: str | None = None
    timestamp: datetime | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    mandatory: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message that was delivered; `redeliveries` counts the readers that were lost with it before.

    RabbitMQ before 4.3 also counts how often it was requeued. `user_id` is the user who published it, as the
    broker has checked; None if the publisher named none.
    """

    tag: int
    exchange: str
    routing_key: str
    body: bytes
    message_id: str | None = None
    correlation_id: str | None = None
    type: str | None = None
    app_id: str | None = None
    timestamp: datetime | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    redeliveries: int = 0
    user_id: str | None = None

    @property
    def attempts(self) -> int:
        """How often handling this message has failed."""
        count = self.headers.get(ATTEMPTS, 0)
        return max(0, count) if isinstance(count, int) else 0


def to_message(event: EncodedEvent) -> Message:
    """Return the message that publishes an event."""
    kind = EVENT_TYPES[event.type]
    return Message(
        exchange=exchange_of(kind.published_by),
        routing_key=f"{event.type}.{event.correlation_id}",
        body=event.body.encode(),
        message_id=event.event_id,
        correlation_id=event.correlation_id,
        type=event.type,
        app_id=kind.published_by,
        timestamp=event.occurred_at if event.occurred_at >= EPOCH else None,
        headers={TRACE: _trace_parent(event)},
        mandatory=bool(kind.handled_by),
    )


def read_event(
    delivery: Delivery, topology: Topology, received_at: datetime, *, check_publisher: bool = False
) -> Event:
    """Return the event of a delivery.

    `check_publisher`: every service is a user of its own at the broker, so that the publisher is known.

    Raises:
        InvalidEvent: the body is no event, or came through an exchange or with a routing key that events of
            its type do not have, or from a user who may not publish it.
    """
    event = decode(delivery.body)
    exchange, key = origin(delivery, topology)
    if key.split(".")[0] != event.type:
        raise InvalidEvent(f"type: {event.type} came with the routing key {key}")
    if exchange != home_exchange(event.type):
        raise InvalidEvent(f"type: {event.type} came through {exchange}, not {home_exchange(event.type)}")
    if event.type not in topology.reacts_to:
        raise InvalidEvent(f"type: {topology.service} does not react to {event.type}")
    if check_publisher and not may_publish(user := original_publisher(delivery, topology), event.type):
        who = f"by {user}" if user else "by an unnamed user"
        raise InvalidEvent(f"user_id: {event.type} was published {who}, not by {event.published_by}")
    known_id = delivery.headers.get(EVENT_ID)
    if event.event_id is None and isinstance(known_id, str) and re.fullmatch(ID_PATTERN, known_id):
        event = event.model_copy(update={"event_id": known_id})
    return with_defaults(event, received_at)


def origin(delivery: Delivery, topology: Topology) -> tuple[str, str]:
    """Return the exchange and routing key a message was first published with."""
    route = _route(delivery, topology)
    if _is_own(route[0], topology):
        exchange, key = delivery.headers.get(ORIGIN_EXCHANGE), delivery.headers.get(ORIGIN_KEY)
        if isinstance(exchange, str) and isinstance(key, str):
            return exchange, key
    return route


def original_publisher(delivery: Delivery, topology: Topology) -> str | None:
    """Return the user who first published a message; None if the publisher named none.

    The broker has checked `user_id`. A copy carries this service's own; the user of the original is in a
    header, which is trusted only in messages from an exchange that no other user may write to.
    """
    if _is_own(_route(delivery, topology)[0], topology):
        user = delivery.headers.get(ORIGIN_USER)
        return user if isinstance(user, str) else None
    return delivery.user_id


def _route(delivery: Delivery, topology: Topology) -> tuple[str, str]:
    """Return the exchange and routing key with which a message came into one of the service's queues."""
    if delivery.exchange == topology.dead_letter_exchange and (record := broker_dead_lettering(delivery)):
        keys = record.get("routing-keys")
        return str(record.get("exchange")), str(keys[0]) if isinstance(keys, list) and keys else ""
    return delivery.exchange, delivery.routing_key


def _is_own(exchange: str, topology: Topology) -> bool:
    return exchange.startswith(topology.service) and exchange in (
        topology.retry_exchange,
        topology.return_exchange,
        topology.dead_letter_exchange,
    )


def broker_dead_lettering(delivery: Delivery) -> Mapping[str, Any] | None:
    """Return the broker's record of why it dead-lettered a message; None if a service did, whose copies
    carry no such record."""
    records = delivery.headers.get("x-death")
    last = records[0] if isinstance(records, list) and records else None
    return last if isinstance(last, Mapping) else None


def delayed(delivery: Delivery, topology: Topology, event: Event, reason: str, now: datetime) -> Message:
    """Return the copy of a message that returns after a pause, with one more attempt counted."""
    headers = {
        EVENT_ID: event.event_id,
        ATTEMPTS: delivery.attempts + 1,
        REASON: reason[:MAX_REASON],
        FAILED_AT: format_time(now),
    }
    return _copy(delivery, topology, topology.retry_exchange, topology.delay_key(delivery.attempts), headers)


def for_quarantine(delivery: Delivery, topology: Topology, now: datetime) -> Message:
    """Return the copy of a message that is read alone from now on."""
    return _copy(delivery, topology, topology.retry_exchange, QUARANTINE_KEY, {FAILED_AT: format_time(now)})


def dead_lettered(delivery: Delivery, topology: Topology, reason: str, now: datetime) -> Message:
    """Return the copy of a message that stays in the dead-letter queue until an operator acts."""
    headers = {ATTEMPTS: delivery.attempts, REASON: reason[:MAX_REASON], FAILED_AT: format_time(now)}
    return _copy(delivery, topology, topology.dead_letter_exchange, origin(delivery, topology)[1], headers)


def republished(delivery: Delivery, topology: Topology) -> Message:
    """Return the copy of a message that its service reads again with no redeliveries counted."""
    return _copy(delivery, topology, topology.return_exchange, origin(delivery, topology)[1], {})


def replayed(delivery: Delivery, topology: Topology) -> Message:
    """Return the copy of a dead letter that its service reads again, with no attempts counted."""
    return _copy(delivery, topology, topology.return_exchange, origin(delivery, topology)[1], {ATTEMPTS: 0})


def _copy(
    delivery: Delivery,
    topology: Topology,
    exchange: str,
    key: str,
    headers: Mapping[str, Any],
) -> Message:
    first_exchange, first_key = origin(delivery, topology)
    user = original_publisher(delivery, topology)
    # Other headers may route a copy elsewhere (CC), count for another queue (x-delivery-count), or have a
    # type that the client library can read but not write.
    kept = {name: value for name, value in delivery.headers.items() if name in KEPT and _is_plain(value)}
    return Message(
        exchange=exchange,
        routing_key=key.encode()[:MAX_KEY].decode(errors="ignore"),
        body=delivery.body,
        message_id=delivery.message_id,
        correlation_id=delivery.correlation_id,
        type=delivery.type,
        app_id=delivery.app_id,
        timestamp=delivery.timestamp,
        headers={
            **kept,
            ORIGIN_EXCHANGE: first_exchange[:MAX_HEADER],
            ORIGIN_KEY: first_key[:MAX_HEADER],
            **({ORIGIN_USER: user} if user else {}),
            **headers,
        },
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and len(value) <= MAX_HEADER)


def _trace_parent(event: EncodedEvent) -> str:
    """Return the W3C trace context of an event: one trace per saga, one span per event, both derived."""
    trace = sha256(event.correlation_id.encode()).hexdigest()[:32]
    span = sha256(event.event_id.encode()).hexdigest()[:16]
    return f"00-{trace}-{span}-01"

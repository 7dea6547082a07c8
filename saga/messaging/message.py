"""What travels: an event as a message, and a delivered message as an event."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from events.catalogue import Event
from events.codec import InvalidEvent, decode, encode
from events.identity import with_defaults
from events.types import ID_PATTERN
from saga.messaging.topology import QUARANTINE_KEY, Topology, home_exchange, routing_key
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
"""The headers that a copy has from its original, whatever else that carries: all headers of a message have to
fit into one frame, and the copy has more of its own."""

MAX_REASON = 500
MAX_HEADER = 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""AMQP has no times before."""
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
    """A message that was delivered; `redeliveries` counts the readers that died with it before.

    RabbitMQ before 4.3 also counts how often it was given back. `user_id` is the broker's word for who
    published it, None if that one did not say.
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


def to_message(event: Event) -> Message:
    """Return the message that publishes an event.

    Raises:
        ValueError: the event lacks its id, correlation id or time.
    """
    return Message(
        exchange=home_exchange(event.type),
        routing_key=routing_key(event),
        body=encode(event),
        message_id=event.event_id,
        correlation_id=event.correlation_id,
        type=event.type,
        app_id=event.published_by,
        timestamp=event.occurred_at if event.occurred_at and event.occurred_at >= EPOCH else None,
        headers={TRACE: _trace_parent(event)},
        mandatory=bool(event.handled_by),
    )


def read(
    delivery: Delivery, topology: Topology, received_at: datetime, *, check_publisher: bool = False
) -> Event:
    """Return the event of a delivery.

    `check_publisher`: every service is a user of its own at the broker, so that who published can be known.

    Raises:
        InvalidEvent: the body is no event, or came by a way that events of its type do not come, or from
            somebody who may not publish it.
    """
    event = decode(delivery.body)
    exchange, key = origin(delivery, topology)
    if key.split(".")[0] != event.type:
        raise InvalidEvent(f"type: {event.type} came with the routing key {key}")
    if exchange != home_exchange(event.type):
        raise InvalidEvent(f"type: {event.type} came through {exchange}, not {home_exchange(event.type)}")
    if event.type not in topology.reacts_to:
        raise InvalidEvent(f"type: {topology.service} does not react to {event.type}")
    if check_publisher and not may_publish(user := sender(delivery, topology), event.type):
        who = f"by {user}" if user else "by somebody who did not say who it is"
        raise InvalidEvent(f"user_id: {event.type} was published {who}, not by {event.published_by}")
    known_id = delivery.headers.get(EVENT_ID)
    if event.event_id is None and isinstance(known_id, str) and re.fullmatch(ID_PATTERN, known_id):
        event = event.model_copy(update={"event_id": known_id})
    return with_defaults(event, received_at)


def origin(delivery: Delivery, topology: Topology) -> tuple[str, str]:
    """Return the exchange and routing key a message was first published with."""
    way = _way(delivery, topology)
    if _is_own(way[0], topology):
        exchange, key = delivery.headers.get(ORIGIN_EXCHANGE), delivery.headers.get(ORIGIN_KEY)
        if isinstance(exchange, str) and isinstance(key, str):
            return exchange, key
    return way


def sender(delivery: Delivery, topology: Topology) -> str | None:
    """Return the user who first published a message, None if that one did not say.

    The broker vouches for `user_id`. A copy carries our own user's; who published the first one was written
    down in a header, which counts only in what came through an exchange that nobody else may write to.
    """
    if _is_own(_way(delivery, topology)[0], topology):
        user = delivery.headers.get(ORIGIN_USER)
        return user if isinstance(user, str) else None
    return delivery.user_id


def _way(delivery: Delivery, topology: Topology) -> tuple[str, str]:
    """Return the exchange and routing key that brought a message into one of the service's queues."""
    if delivery.exchange == topology.dead_letter_queue and (death := broker_dead_lettering(delivery)):
        keys = death.get("routing-keys")
        return str(death.get("exchange")), str(keys[0]) if isinstance(keys, list) and keys else ""
    return delivery.exchange, delivery.routing_key


def _is_own(exchange: str, topology: Topology) -> bool:
    return exchange in (topology.retry_exchange, topology.return_exchange, topology.dead_letter_exchange)


def broker_dead_lettering(delivery: Delivery) -> Mapping[str, Any] | None:
    """Return the broker's own note of why it put a dead letter away; None if a service did, whose copies
    carry no such note."""
    deaths = delivery.headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    return last if isinstance(last, Mapping) else None


def delayed(delivery: Delivery, topology: Topology, event: Event, reason: str, now: datetime) -> Message:
    """Return the copy of a message that comes back after a pause, with one more attempt counted."""
    headers = {
        EVENT_ID: event.event_id,
        ATTEMPTS: delivery.attempts + 1,
        REASON: reason[:MAX_REASON],
        FAILED_AT: _written(now),
    }
    return _copy(delivery, topology, topology.retry_exchange, topology.delay_key(delivery.attempts), headers)


def for_quarantine(delivery: Delivery, topology: Topology, now: datetime) -> Message:
    """Return the copy of a message that is read alone from now on."""
    return _copy(delivery, topology, topology.retry_exchange, QUARANTINE_KEY, {FAILED_AT: _written(now)})


def dead(delivery: Delivery, topology: Topology, reason: str, now: datetime) -> Message:
    """Return the copy of a message that rests in the dead-letter queue until somebody looks."""
    headers = {ATTEMPTS: delivery.attempts, REASON: reason[:MAX_REASON], FAILED_AT: _written(now)}
    return _copy(delivery, topology, topology.dead_letter_exchange, origin(delivery, topology)[1], headers)


def republished(delivery: Delivery, topology: Topology) -> Message:
    """Return the copy of a message that its service reads again as if it had never been delivered."""
    return _copy(delivery, topology, topology.return_exchange, origin(delivery, topology)[1], {})


def replayed(delivery: Delivery, topology: Topology) -> Message:
    """Return the copy of a dead letter that its service reads once more, with all attempts before it."""
    return _copy(delivery, topology, topology.return_exchange, origin(delivery, topology)[1], {ATTEMPTS: 0})


def _copy(
    delivery: Delivery,
    topology: Topology,
    exchange: str,
    key: str,
    headers: Mapping[str, Any],
) -> Message:
    first_exchange, first_key = origin(delivery, topology)
    user = sender(delivery, topology)
    # Others may route a copy elsewhere (CC), count for another queue (x-delivery-count), or be of a kind that
    # can be read but not written.
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


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _is_plain(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and len(value) <= MAX_HEADER)


def _trace_parent(event: Event) -> str:
    """Return the W3C trace context of an event: one trace a saga, one span an event, both derived."""
    trace = sha256((event.correlation_id or "").encode()).hexdigest()[:32]
    span = sha256((event.event_id or "").encode()).hexdigest()[:16]
    return f"00-{trace}-{span}-01"

"""An event as it is published: encoded once, then recorded, published and repeated as the same text."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from events.catalogue import EVENT_TYPES, Event
from events.codec import InvalidEvent, encode, parse_json


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """The text of a complete event, and what a message says about it."""

    type: str
    event_id: str
    correlation_id: str
    order_id: str
    occurred_at: datetime
    body: str

    @classmethod
    def of(cls, event: Event) -> Self:
        """Encode an event.

        Raises:
            ValueError: it lacks its id, correlation id or time.
        """
        body = encode(event)
        if not (event.event_id and event.correlation_id and event.occurred_at):
            raise ValueError(f"{event.type} of order {event.order_id} has no id, correlation id or time")
        return cls(
            event.type, event.event_id, event.correlation_id, event.order_id, event.occurred_at, body.decode()
        )

    @classmethod
    def read(cls, body: str) -> Self:
        """Return the event with this text, which is not validated: fields that are unknown here stay in it.

        Raises:
            InvalidEvent: the text is not that of an event of a known type.
        """
        fields: Any = parse_json(body)
        try:
            if fields["type"] not in EVENT_TYPES:
                raise InvalidEvent(f"{fields['type']!r} is no event")
            return cls(
                fields["type"],
                fields["eventId"],
                fields["correlationId"],
                fields["orderId"],
                datetime.fromisoformat(fields["occurredAt"]),
                body,
            )
        except (LookupError, TypeError, ValueError) as error:
            raise InvalidEvent(f"not a complete event: {error!r}") from None

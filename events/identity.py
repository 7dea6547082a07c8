"""Event ids are derived, never random: republishing an event publishes the same event.

Every receiver can therefore recognise a duplicate by its id alone, whatever its origin.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar
from uuid import UUID, uuid4, uuid5

from events.catalogue import Event

NAMESPACE = UUID("8f1d2b0e-5f0c-5d6a-9a55-3c1f0f6e7a10")
_NAMESPACE_BYTES = NAMESPACE.bytes

E = TypeVar("E", bound=Event)


def new_id(kind: str, idempotency_key: str | None) -> str:
    """Return the id of a new object of this kind: random or, with an idempotency key, the same each time."""
    if idempotency_key is None:
        return uuid4().hex
    return uuid5(NAMESPACE, f"{kind}-key:{idempotency_key}").hex


def derived_id(cause_id: str, event_type: str, index: int = 0) -> str:
    """Return the id of the `index`-th event of its type that a service publishes for one cause."""
    suffix = f"#{index}" if index else ""
    return _id_of(f"{cause_id}/{event_type}{suffix}")


def transition_id(service: str, order_id: str, transition: str) -> str:
    """Return the record id of a change that no event caused, such as a cancellation or an expiry."""
    return _id_of(f"{service}/{order_id}/{transition}")


def _id_of(name: str) -> str:
    """Return `str(uuid5(NAMESPACE, name))`, in a third of its time."""
    digits = hashlib.sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def content_id(event: Event) -> str:
    """Return the id of an event that was published manually without one: the same content, the same id.

    It is computed from the parsed fields that differ from their defaults: the order of the fields, white
    space, or `25.0` instead of `"25.00"`, do not change it.
    """
    fields = event.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"event_id"})
    fields["type"] = event.type
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return _id_of(hashlib.sha256(canonical.encode()).hexdigest())


def with_defaults(event: E, received_at: datetime) -> E:
    """Return a received event with the ids and the time that its publisher left out."""
    if event.event_id and event.correlation_id and event.occurred_at:
        return event
    return event.model_copy(
        update={
            "event_id": event.event_id or content_id(event),
            "correlation_id": event.correlation_id or event.order_id,
            "occurred_at": event.occurred_at or received_at,
        }
    )


def with_identity(
    drafts: Iterable[Event],
    *,
    record_id: str,
    caused_by: str | None,
    correlation_id: str,
    occurred_at: datetime,
    already: Iterable[str] = (),
) -> list[Event]:
    """Return the events of a reaction with their ids, cause, correlation and time.

    `record_id` is the id of their journal record: of the event or transition that caused them;
    `already` are the types of the events that this record holds already, which count for the index.
    """
    seen = list(already)
    events: list[Event] = []
    for draft in drafts:
        index = seen.count(draft.type)
        seen.append(draft.type)
        events.append(
            draft.model_copy(
                update={
                    "event_id": derived_id(record_id, draft.type, index),
                    "correlation_id": correlation_id,
                    "causation_id": caused_by,
                    "occurred_at": occurred_at,
                }
            )
        )
    return events

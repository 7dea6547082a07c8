"""Event ids are derived, never drawn: publishing an event again is publishing the same event.

Every receiver can therefore recognise a repetition by its id alone, whoever repeats it and why.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar
from uuid import UUID, uuid5

from events.catalogue import Event

NAMESPACE = UUID("8f1d2b0e-5f0c-5d6a-9a55-3c1f0f6e7a10")

E = TypeVar("E", bound=Event)


def derived_id(cause_id: str, event_type: str, index: int = 0) -> str:
    """Return the id of the `index`-th event of a type that a cause made a service publish."""
    suffix = f"#{index}" if index else ""
    return str(uuid5(NAMESPACE, f"{cause_id}/{event_type}{suffix}"))


def transition_id(service: str, order_id: str, transition: str) -> str:
    """Return the id under which a change that no event caused (a cancel, an expiry) is remembered."""
    return str(uuid5(NAMESPACE, f"{service}/{order_id}/{transition}"))


def content_id(event: Event) -> str:
    """Return the id of an event published by hand without one: the same content gives the same id.

    Computed on the parsed fields that differ from their defaults, so that neither the order of the
    fields, white space, nor `25.0` for `"25.00"` makes another event of it.
    """
    fields = event.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"event_id"})
    fields["type"] = event.type
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return str(uuid5(NAMESPACE, hashlib.sha256(canonical.encode()).hexdigest()))


def with_defaults(event: E, received_at: datetime) -> E:
    """Return a received event with what its publisher left out filled in."""
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
    recorded_under: str,
    caused_by: str | None,
    correlation_id: str,
    occurred_at: datetime,
    already: Iterable[str] = (),
) -> list[Event]:
    """Give the events a reaction returned their ids, cause, correlation and time.

    `recorded_under` is the id of the event or of the transition that is remembered as their cause;
    `already` holds the types it made the service publish before, which count for the index.
    """
    seen = list(already)
    events: list[Event] = []
    for draft in drafts:
        index = seen.count(draft.type)
        seen.append(draft.type)
        events.append(
            draft.model_copy(
                update={
                    "event_id": derived_id(recorded_under, draft.type, index),
                    "correlation_id": correlation_id,
                    "causation_id": caused_by,
                    "occurred_at": occurred_at,
                }
            )
        )
    return events

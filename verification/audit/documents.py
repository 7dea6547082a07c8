"""Reads a stored document as its service does."""

from typing import TypeVar

from pydantic_core import from_json

from saga.mongodb.client import Document
from saga.reactions.aggregate import Aggregate
from verification.invariants.case import Json, Snapshot

M = TypeVar("M", bound=Aggregate)


class Unreadable(ValueError):
    """A document is not what its service writes; the text names the service and the error."""


def snapshot(document: Document, model: type[M]) -> Snapshot[M]:
    """Return what a document says.

    Raises:
        Unreadable: its service could not read it either.
    """
    try:
        state = model.model_validate(document["state"])
        if state.order_id != document["_id"]:
            raise ValueError(f"the state is that of {state.order_id}")
        return Snapshot(
            state=state,
            updated_at=document["updatedAt"],
            emitted=[
                _identified(body) for record in document["journal"] for body in record.get("emitted", ())
            ],
            unpublished_since=(
                document["updatedAt"]
                if any(record.get("unpublished") for record in document["journal"])
                else None
            ),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Unreadable(f"{model.__name__.lower()}: {type(error).__name__}: {_short(error)}") from error


def _identified(body: str) -> Json:
    event: Json = from_json(body)
    _ = event["eventId"], event["type"], event["orderId"]
    return event


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

"""Events to JSON and back: strict in what is published, tolerant of unknown fields in what is received."""

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

from pydantic import ValidationError

from events.catalogue import ANY_EVENT, EVENT_TYPES, Event

MAX_BYTES = 256 * 1024


class InvalidEvent(ValueError):
    """The text is not an event; the message names the fields that are wrong, and why."""


def encode(event: Event) -> bytes:
    """Return the JSON of a complete event.

    Raises:
        ValueError: the event lacks its id, correlation id or time.
    """
    _check_complete(event)
    return event.model_dump_json(by_alias=True, exclude_none=True).encode()


def to_json(event: Event) -> dict[str, Any]:
    """Return a complete event as the JSON object that is published and recorded, without absent fields.

    Raises:
        ValueError: the event lacks its id, correlation id or time.
    """
    _check_complete(event)
    return event.model_dump(mode="json", by_alias=True, exclude_none=True)


def _check_complete(event: Event) -> None:
    if not (event.event_id and event.correlation_id and event.occurred_at):
        raise ValueError(f"{event.type} of order {event.order_id} has no id, correlation id or time")


def from_json(fields: object, *, forbid_unknown: bool = False) -> Event:
    """Read an event from parsed JSON (numbers with a fraction as Decimal).

    Raises:
        InvalidEvent: it is not an event of a known type with valid fields.
    """
    if not isinstance(fields, dict):
        raise InvalidEvent("an event is a JSON object")
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in EVENT_TYPES:
        raise InvalidEvent(f"type: {_named(kind)} is no event; known are {', '.join(EVENT_TYPES)}")
    try:
        return ANY_EVENT.validate_python(fields, extra="forbid" if forbid_unknown else "ignore")
    except ValidationError as error:
        raise InvalidEvent(describe(error)) from None


def decode(body: bytes | str, *, forbid_unknown: bool = False) -> Event:
    """Read an event from its JSON text.

    Raises:
        InvalidEvent: the text is too long, not JSON, or not an event.
    """
    if len(body) > MAX_BYTES:
        raise InvalidEvent(f"longer than {MAX_BYTES} bytes")
    return from_json(parse_json(body), forbid_unknown=forbid_unknown)


def parse_json(text: bytes | str) -> object:
    """Parse JSON, with numbers that have a fraction as exact Decimals.

    Raises:
        InvalidEvent: the text is not JSON in UTF-8.
    """
    try:
        return _READER.decode(_as_text(text))
    except RecursionError:
        raise InvalidEvent("not JSON: nested too deeply") from None
    except (ValueError, ArithmeticError) as error:
        raise InvalidEvent(f"not JSON: {error}") from None


def describe(error: ValidationError) -> str:
    """Return in one line which fields are wrong and why, by their names in JSON."""
    problems = []
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        path = [str(part) for part in detail["loc"] if part not in EVENT_TYPES]
        message = detail["msg"].removeprefix("Value error, ")
        problems.append(f"{'.'.join(path)}: {message}" if path else message)
    return "; ".join(problems)


def _as_text(text: bytes | str) -> str:
    return text if isinstance(text, str) else text.decode()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_READER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse)


def _named(kind: object) -> str:
    """Return a type to show in a log: as it is only if it looks like the name of an event."""
    return repr(kind) if isinstance(kind, str) and re.fullmatch(r"[A-Za-z]{1,64}", kind) else "this"

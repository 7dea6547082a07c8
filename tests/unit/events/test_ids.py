"""The ids in events: the same rule for every field that holds one."""

import json
from typing import Any

import pytest

from events.catalogue import (
    EVENT_TYPES,
)
from events.codec import InvalidEvent, from_json, to_json
from tests.support.builders import event

NO_IDS: list[object] = ["", "x" * 65, "a b", "a.b", "a/b", "a#", "a*", "é", "a\n", "\0", 1, True, []]


def id_fields() -> list[tuple[str, tuple[str | int, ...]]]:
    """Return every type with the path of each of its fields that holds an id."""
    found: list[tuple[str, tuple[str | int, ...]]] = []
    for kind, model in EVENT_TYPES.items():
        names = [field.alias or name for name, field in model.model_fields.items() if name.endswith("_id")]
        found += [(kind, (name,)) for name in names]
        if "items" in model.model_fields:
            found += [(kind, ("items", 0, name)) for name in ("productId", "warehouseId")]
        if "reservations" in model.model_fields:
            inner = ("reservationId", "productId", "warehouseId")
            found += [(kind, ("reservations", 0, name)) for name in inner]
        if "shortages" in model.model_fields:
            found.append((kind, ("shortages", 0, "productId")))
    return found


def with_id(kind: str, path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return the JSON of an event with this value at that path."""
    shortages = {"shortages": [{"productId": "tea", "requested": 2, "available": 1}]}
    sample = to_json(event(EVENT_TYPES[kind]))
    fields: Any = json.loads(json.dumps({**sample, **shortages} if path[0] == "shortages" else sample))
    inner = fields
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return dict(fields)


@pytest.mark.parametrize(
    ("kind", "path"),
    id_fields(),
    ids=lambda part: part if isinstance(part, str) else ".".join(map(str, part)),
)
class TestIds:
    def test_letters_digits_dash_and_underscore_are_valid(
        self, kind: str, path: tuple[str | int, ...]
    ) -> None:
        for value in ("a", "Z-9_", "x" * 64):
            assert from_json(with_id(kind, path, value))

    def test_any_other_id_is_rejected_by_the_name_of_its_field(
        self, kind: str, path: tuple[str | int, ...]
    ) -> None:
        for value in NO_IDS:
            with pytest.raises(InvalidEvent) as rejection:
                from_json(with_id(kind, path, value))
            assert str(rejection.value).startswith(f"{'.'.join(map(str, path))}: "), value

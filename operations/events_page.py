"""The reference of events, made from the catalogue and from the tables of the three services."""

from collections.abc import Iterator
from inspect import getdoc
from typing import Any

from events.catalogue import EVENT_TYPES, Event
from operations.registry import SPECS

COMMON = set(Event.model_fields)
Schema = dict[str, Any]


def events() -> str:
    """Return the reference: who publishes and handles each event, its fields, and the values in them."""
    schemas = {kind: event.model_json_schema(mode="serialization") for kind, event in EVENT_TYPES.items()}
    values = {name: value for schema in schemas.values() for name, value in schema.get("$defs", {}).items()}
    lines = ["| event | published by | handled by |", "|---|---|---|"]
    for kind, event in EVENT_TYPES.items():
        lines.append(
            f"| [{kind}](#{kind.lower()}) | {_list(_publishers(event))} | {_list(_handlers(event))} |"
        )
    for kind, event in EVENT_TYPES.items():
        names = {field.alias or name for name, field in event.model_fields.items() if name not in COMMON}
        lines += ["", f"### {kind}", "", getdoc(event) or "", *_fields(schemas[kind], names)]
    lines += ["", "## Values"]
    for name in sorted(values):
        lines += ["", f"### {name}", "", values[name]["description"]]
        lines += _fields(values[name], set(values[name]["properties"]))
    return "\n".join(lines)


def _publishers(event: type[Event]) -> Iterator[str]:
    for spec in SPECS.values():
        for rule in spec.rules:
            if event in rule.publishes:
                yield _function(rule.react)


def _handlers(event: type[Event]) -> Iterator[str]:
    return (_function(spec.reactions[event].react) for spec in SPECS.values() if event in spec.reactions)


def _function(function: Any) -> str:
    module = function.__module__.replace(".", "/")
    return f"{module.partition('_')[0]}: [`{function.__name__}`](../{module}.py)"


def _list(functions: Iterator[str]) -> str:
    return "<br>".join(dict.fromkeys(functions)) or "no service"


def _fields(schema: Schema, names: set[str]) -> Iterator[str]:
    """Yield the table of the fields with these names."""
    if not names:
        return
    yield from ("", "| field | type | |", "|---|---|---|")
    for name, field in schema["properties"].items():
        if name in names:
            yield f"| `{name}` | {_type(field)} | {'' if _needed(name, field, schema) else 'optional'} |"


def _needed(name: str, field: Schema, schema: Schema) -> bool:
    return name in schema.get("required", []) and "default" not in field


def _type(field: Schema) -> str:
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"] if choice != {"type": "null"})
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"])
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field.get("format") == "date-time":
        return "time"
    return "amount" if "examples" in field else str(field["type"])

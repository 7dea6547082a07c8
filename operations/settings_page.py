"""The table of settings, made from the settings classes of the services."""

from collections.abc import Iterator

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from operations.registry import SPECS
from saga.settings import ServiceSettings

COMMON = list(ServiceSettings.model_fields)


def settings() -> str:
    """Return the tables: shared variables, variables with a prefix for each service, those of one service."""
    lines = ["### All services, under one name", *_table(_shared())]
    lines += [
        "",
        "### All services, each with its prefix",
        "",
        "As in `ORDER_PORT`, `INVENTORY_PORT` and `PAYMENT_PORT`.",
    ]
    lines += _table(_prefixed())
    for service, spec in SPECS.items():
        own = {name: field for name, field in spec.settings.model_fields.items() if name not in COMMON}
        lines += ["", f"### The {service.replace('_', ' ')} alone"]
        lines += _table(_row(f"{spec.env_prefix}{name}".upper(), field) for name, field in own.items())
    return "\n".join(lines)


def _shared() -> Iterator[str]:
    for field in ServiceSettings.model_fields.values():
        if isinstance(field.validation_alias, str):
            yield _row(field.validation_alias, field)


def _prefixed() -> Iterator[str]:
    for name, field in ServiceSettings.model_fields.items():
        if field.validation_alias is None:
            defaults = [spec.settings.model_fields[name] for spec in SPECS.values()]
            each = ", ".join(dict.fromkeys(_default(default) for default in defaults))
            yield _row(f"..._{name}".upper(), field, each)


def _table(rows: Iterator[str]) -> list[str]:
    return ["", "| variable | default | meaning |", "|---|---|---|", *rows]


def _row(variable: str, field: FieldInfo, default: str | None = None) -> str:
    meaning = " ".join((field.description or "").split()).replace("|", "\\|")
    return f"| `{variable}` | {_default(field) if default is None else default} | {meaning} |"


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value)
    if isinstance(value, float):
        value = f"{value:g}"
    return "" if value in (None, "") else f"`{value}`"

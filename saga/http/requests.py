"""What the requests of all services have in common: the base of their bodies, and parameters."""

from typing import Annotated

from fastapi import Header
from fastapi import Path as PathParameter
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from events.types import ID_PATTERN
from events.values import Model

PathId = Annotated[str, PathParameter(pattern=ID_PATTERN)]
IdempotencyKeyHeader = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


class RequestBody(Model):
    """Base of the request bodies: unknown fields are rejected."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

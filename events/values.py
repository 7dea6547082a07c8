"""The value objects of events and HTTP bodies, and the base of all that is sent as JSON."""

from collections import Counter
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from events.types import MAX_QUANTITY, Count, Id, Quantity

MAX_LINES = 100
DEFAULT_HOLD = timedelta(minutes=10)
"""How long stock is held when neither the order nor the inventory service's setting says otherwise."""


class Model(BaseModel):
    """Base of everything that is sent as JSON: camelCase in JSON, snake_case in Python, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Item(Model):
    """One line of an order."""

    product_id: Id
    quantity: Quantity
    warehouse_id: Id | None = None
    """The only warehouse that may supply this line; without it, the inventory service chooses."""


def _read_degrees(value: object) -> object:
    if isinstance(value, bool | str):
        raise ValueError("must be a number")
    return value


class Location(Model):
    """A point on earth, in degrees."""

    latitude: Annotated[float, BeforeValidator(_read_degrees), Field(ge=-90, le=90)]
    longitude: Annotated[float, BeforeValidator(_read_degrees), Field(ge=-180, le=180)]


class HeldLine(Model):
    """Units of one product held, allocated or released at one warehouse."""

    reservation_id: Id
    product_id: Id
    warehouse_id: Id
    quantity: Quantity


class Shortage(Model):
    """One product whose stock does not cover the order."""

    product_id: Id
    requested: Count
    available: Count


def _one_line_a_product_and_warehouse(items: tuple[Item, ...]) -> tuple[Item, ...]:
    if len({item.product_id for item in items}) == len(items):
        return items
    units: Counter[str] = Counter()
    seen: set[tuple[str, str | None]] = set()
    for item in items:
        seen.add((item.product_id, item.warehouse_id))
        units[item.product_id] += item.quantity
    if len(seen) != len(items):
        raise ValueError("must not name the same product and warehouse twice")
    if max(units.values()) > MAX_QUANTITY:
        raise ValueError(f"must not ask for more than {MAX_QUANTITY} units of a product in all")
    return items


Items = Annotated[
    tuple[Item, ...],
    Field(min_length=1, max_length=MAX_LINES),
    AfterValidator(_one_line_a_product_and_warehouse),
]

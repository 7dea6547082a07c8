"""The orders that every system gets, and how each has to end.

Order `number` is drawn with its number as the seed, so that every process knows it without being sent it: two
lines of different products, each at one of three warehouses, one to three units. The payment of every tenth
order is declined.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from random import Random

PRODUCTS = [f"p-{number:03d}" for number in range(200)]
WAREHOUSES = {"north": (60.0, 10.0), "middle": (50.0, 10.0), "south": (40.0, 10.0)}
"""Latitude and longitude of each."""
STOCKED = 1_000_000
"""Units of each product in each warehouse before the first order."""
EVERY_TENTH = 10
DECLINED_REST = 7

Place = tuple[str, str]
"""A warehouse and a product."""
PLACES: list[Place] = list(product(WAREHOUSES, PRODUCTS))


@dataclass(frozen=True, slots=True)
class Line:
    """Some units of a product at a warehouse."""

    warehouse: str
    product: str
    quantity: int

    @property
    def place(self) -> Place:
        return self.warehouse, self.product


@dataclass(frozen=True, slots=True)
class Order:
    """One order of the workload."""

    number: int
    lines: tuple[Line, ...]
    total: Decimal

    @property
    def order_id(self) -> str:
        return order_id(self.number)

    @property
    def declined(self) -> bool:
        """Whether its payment is declined, so that it has to end failed, and its stock released."""
        return self.number % EVERY_TENTH == DECLINED_REST


@dataclass(frozen=True, slots=True)
class Ends:
    """What a system has stored in the end, or should have.

    `statuses` by order id; `stock` holds available, reserved and allocated units by place; `payments` and
    `reservations` count by status.
    """

    statuses: Mapping[str, str]
    stock: Mapping[Place, tuple[int, int, int]]
    payments: Mapping[str, int]
    reservations: Mapping[str, int]


def order(number: int) -> Order:
    """Return an order of the workload."""
    dice = Random(number)  # noqa: S311 (reproducible)
    lines = tuple(
        Line(dice.choice(list(WAREHOUSES)), chosen, dice.randint(1, 3)) for chosen in dice.sample(PRODUCTS, 2)
    )
    return Order(number, lines, Decimal(1000 + number % 9000) / 100)


def order_id(number: int) -> str:
    return f"bench-{number:07d}"


def number_of(order_id: str) -> int:
    """Return the number of an order of the workload.

    Raises:
        ValueError: it is none.
    """
    return int(order_id.removeprefix("bench-"))


def expected(count: int) -> Ends:
    """Return how the first `count` orders have to end, computed from the workload alone."""
    orders = [order(number) for number in range(count)]
    sold: Counter[Place] = Counter()
    for one in orders:
        if not one.declined:
            sold.update({line.place: line.quantity for line in one.lines})
    declined = sum(one.declined for one in orders)
    ends = {True: declined, False: count - declined}
    return Ends(
        statuses={one.order_id: "failed" if one.declined else "confirmed" for one in orders},
        stock={place: (STOCKED - sold[place], 0, sold[place]) for place in PLACES},
        payments=_present({"charged": ends[False], "declined": ends[True]}),
        reservations=_present({"allocated": ends[False], "released": ends[True]}),
    )


def differences(found: Ends, count: int) -> list[str]:
    """Return what differs from how the first `count` orders have to end, a line each kind of difference."""
    wanted = expected(count)
    problems = []
    for name in ("statuses", "stock", "payments", "reservations"):
        want, got = getattr(wanted, name), getattr(found, name)
        wrong = [key for key in sorted({*want, *got}) if want.get(key) != got.get(key)]
        if wrong:
            first = wrong[0]
            problems.append(
                f"{len(wrong)} of {len(want)} {name} are not as they have to be: {first} is "
                f"{got.get(first)} instead of {want.get(first)}"
            )
    return problems


def _present(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}

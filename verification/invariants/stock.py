"""The stock that reservations hold, compared with the stock levels."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from inventory_service.reservation import Reservation
from inventory_service.stock import StockKey
from verification.invariants.names import Finding, Invariant


@dataclass(frozen=True, slots=True)
class StockLevel:
    """The level of one product at one warehouse as it is stored, even where it is invalid."""

    available: int
    reserved: int
    allocated: int
    owned: int
    version: int


@dataclass(slots=True)
class StockBook:
    """The units that reservations hold and have allocated, by warehouse and product."""

    held: Counter[StockKey] = field(default_factory=Counter)
    allocated: Counter[StockKey] = field(default_factory=Counter)

    def add(self, reservation: Reservation) -> None:
        """Count what one reservation has."""
        units = {"held": self.held, "allocated": self.allocated}.get(reservation.status)
        if units is None:
            return
        for line in reservation.lines:
            units[line.warehouse_id, line.product_id] += line.quantity

    @property
    def keys(self) -> set[StockKey]:
        """Every level that a reservation has stock of."""
        return {*self.held, *self.allocated}

    def findings(
        self, levels: Mapping[StockKey, StockLevel], keys: Collection[StockKey]
    ) -> Iterator[Finding]:
        """Compare with the levels under these keys."""
        for key in sorted(keys):
            subject, level = "/".join(key), levels.get(key)
            if level is None:
                yield Finding(
                    Invariant.STOCK_ADDS_UP, subject, "has no level, and reservations have stock there"
                )
                continue
            if min(level.available, level.reserved, level.allocated) < 0:
                yield Finding(
                    Invariant.STOCK_IS_NOT_NEGATIVE,
                    subject,
                    f"has {level.available} available, {level.reserved} reserved, "
                    f"{level.allocated} allocated",
                )
            units = level.available + level.reserved + level.allocated
            if units != level.owned:
                yield Finding(
                    Invariant.STOCK_IS_CONSERVED, subject, f"was given {level.owned} units, and has {units}"
                )
            held, allocated = self.held[key], self.allocated[key]
            if (level.reserved, level.allocated) != (held, allocated):
                yield Finding(
                    Invariant.STOCK_ADDS_UP,
                    subject,
                    f"has {level.reserved} reserved and {level.allocated} allocated, "
                    f"and its reservations hold {held} and have allocated {allocated}",
                )


def changed_levels(
    before: Mapping[StockKey, StockLevel], after: Mapping[StockKey, StockLevel]
) -> set[StockKey]:
    """Return the keys of the levels that have changed: every change of stock makes a new version of it."""
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}

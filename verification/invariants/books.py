"""What a service's ledger says, compared with the documents that it adds up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from saga.reactions.aggregate import Aggregate
from verification.invariants.names import Finding, Invariant


@dataclass(slots=True)
class Book:
    """Sums over the aggregates of one service: their totals, and how many are in each list."""

    service: str
    sums: dict[str, Decimal] = field(default_factory=dict)

    def add(self, aggregate: Aggregate) -> None:
        """Count one aggregate."""
        for name, amount in aggregate.totals.items():
            self.sums[name] = self.sums.get(name, Decimal(0)) + amount
        if aggregate.listing:
            name = listed(aggregate.listing.name)
            self.sums[name] = self.sums.get(name, Decimal(0)) + 1

    def findings(self, ledger: Mapping[str, Decimal]) -> Iterator[Finding]:
        """Return where the ledger says something else."""
        for name in sorted({*self.sums, *ledger}):
            expected, found = self.sums.get(name, Decimal(0)), ledger.get(name, Decimal(0))
            if found != expected:
                yield Finding(
                    Invariant.BOOKS_AGREE, self.service, f"{name}: the ledger has {found}, not {expected}"
                )


def listed(name: str) -> str:
    """Return the name of the sum that counts the entries of a list."""
    return f"listed as {name}"

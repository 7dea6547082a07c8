"""What a chaos run found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from verification.audit.report import AuditReport
from verification.chaos.system_under_test import InjectedFault


@dataclass(frozen=True, slots=True)
class ChaosReport:
    """What a chaos run found.

    `statuses` counts how the accepted orders ended, by their profile; `rest` is how many seconds after the
    last fault the system came to rest; `failures` is what neither the audit nor the dead letters show.
    """

    accepted: int
    statuses: Mapping[str, Counter[str]]
    injected: Sequence[InjectedFault]
    planned: int
    audit: AuditReport
    dead_letters: Mapping[str, int]
    failures: Sequence[str]
    rest: float
    seconds: float

    @property
    def problems(self) -> list[str]:
        """Everything that went wrong, except what the audit reports."""
        letters = [f"{count} dead letters of {service}" for service, count in self.dead_letters.items()]
        missed = self.planned - len(self.injected)
        return [*self.failures, *letters, *([f"{missed} faults were not injected"] if missed else [])]

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return self.audit.ok and not self.problems

    @property
    def slowest(self) -> InjectedFault | None:
        """The fault that took longest to recover from."""
        return max(self.injected, key=lambda fault: fault.recovery, default=None)

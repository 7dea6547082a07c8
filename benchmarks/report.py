"""What a run of the benchmark has found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.load import Times
from benchmarks.plan import Plan

Counts = Mapping[str, float]
"""How often something happened per saga, by its name."""


@dataclass(frozen=True, slots=True)
class Latency:
    """The latencies at one offered rate, in milliseconds from the scheduled time to the end of the saga."""

    rate: float
    p50: float
    p90: float
    p99: float
    max: float
    kept_up: bool
    """False if the system fell behind the rate: then latency only says for how long it was offered."""

    @classmethod
    def of(cls, rate: float, times: Times) -> "Latency":
        """Return the latencies of a phase."""
        p50, p90, p99, longest = (1000 * times.percentile(share) for share in (0.5, 0.9, 0.99, 1.0))
        return cls(rate, p50, p90, p99, longest, times.kept_up)


@dataclass(frozen=True, slots=True)
class Round:
    """What one system did in one round."""

    per_second: float
    """Sagas a second of the burst."""
    cpu: Mapping[str, float]
    """CPU milliseconds a saga of the burst, by part."""
    idle_percent: float
    """CPU that everything together uses at rest, in percent of one core."""
    megabytes: float
    """Memory of the three services together after the burst."""
    others_percent: float
    """CPU that others on this machine used during the burst, in percent of all cores."""
    latencies: Sequence[Latency]

    @property
    def cpu_total(self) -> float:
        """CPU milliseconds a saga, all parts together."""
        return sum(self.cpu.values())


@dataclass(slots=True)
class SystemReport:
    """One system: its rounds, what was counted, and what did not verify."""

    name: str
    about: str
    one_by_one: Mapping[str, Counts] = field(default_factory=dict)
    """Counts per saga by role, with one saga after the other."""
    batched: Mapping[str, Counts] = field(default_factory=dict)
    """The same in a burst."""
    rounds: list[Round] = field(default_factory=list)
    verified: int = 0
    """How many sagas were checked."""
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything was measured and every saga verified."""
        return not self.problems

    def cpu(self, part: str) -> float:
        """Return the median of a part's CPU milliseconds a saga."""
        return median(one.cpu.get(part, 0.0) for one in self.rounds)

    def latency(self, rate: float) -> Latency | None:
        """Return the latencies at a rate: of the round with the median p50; None if it was not offered."""
        found = sorted(
            (one for round_ in self.rounds for one in round_.latencies if one.rate == rate),
            key=lambda one: one.p50,
        )
        return found[len(found) // 2] if found else None


@dataclass(frozen=True, slots=True)
class BenchReport:
    """A whole run."""

    machine: Mapping[str, str | int]
    plan: Plan
    systems: Sequence[SystemReport]
    left_out: Sequence[str]
    """Peers that cannot run here, each with the reason."""
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything verified."""
        return all(system.ok for system in self.systems)


def total(counts: Mapping[str, Counts], name: str) -> float:
    """Return how often something happened per saga, all roles together."""
    return sum(one.get(name, 0.0) for one in counts.values())

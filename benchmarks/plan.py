"""How much a run of the benchmark measures."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    orders: int = 1000
    """Orders of the burst."""
    rates: Sequence[float] = (5, 20, 50, 100, 150, 200, 300, 400)
    """Orders a second to offer, until a system does not keep up."""
    seconds: float = 10.0
    """How long each rate is offered."""
    idle_seconds: float = 5.0
    rounds: int = 1
    replicas: int = 1
    """Processes of each of the saga's services; the peers have one."""
    warm_up: int = 100
    sequence: int = 20
    """Orders that are counted one after the other."""
    batch: int = 100
    """Orders that are counted in a burst."""
    direct: bool = True
    """Whether the services are started again, without proxies, before anything but counts is measured."""


QUICK = Plan(
    orders=50,
    rates=(20,),
    seconds=1.0,
    idle_seconds=0.5,
    warm_up=10,
    sequence=10,
    batch=30,
    direct=False,
)
"""A small run: it shows that everything works and what is counted, not how fast anything is."""

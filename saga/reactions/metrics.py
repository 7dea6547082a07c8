"""What is counted of the stores and the relay, for Prometheus."""

from functools import cache

from prometheus_client import Counter

CONFLICTS = Counter("saga_write_conflicts", "Steps run again because another writer was first", ["service"])
RELAYED = cache(
    Counter(
        "saga_relayed", "Events published by the relay, by way (at once, swept up)", ["service", "way"]
    ).labels
)
NUDGED = Counter(
    "saga_nudged", "Events published again because nobody had answered, by type", ["service", "type"]
)

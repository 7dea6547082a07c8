"""What a service counts, for Prometheus.

Each metric is a function of its labels, `retries(service, type).inc()`, which looks each child up only once.
"""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

events = cache(
    Counter("saga_events", "Events handled, by type and outcome", ["service", "type", "outcome"]).labels
)
published = cache(
    Counter("saga_published", "Events published and confirmed, by type", ["service", "type"]).labels
)
relayed = cache(
    Counter(
        "saga_relayed", "Events published by the relay: immediately, or by its sweep", ["service", "path"]
    ).labels
)
nudged = cache(
    Counter("saga_nudged", "Unanswered requests published again, by type", ["service", "type"]).labels
)
retries = cache(
    Counter("saga_retries", "Messages scheduled for another attempt, by type", ["service", "type"]).labels
)
quarantined = cache(Counter("saga_quarantined", "Messages moved to the quarantine queue", ["service"]).labels)
dead_letters = cache(Counter("saga_dead_letters", "Messages dead-lettered", ["service"]).labels)
pauses = cache(
    Counter("saga_pauses", "Times that reading paused because something was unavailable", ["service"]).labels
)
write_conflicts = cache(
    Counter("saga_write_conflicts", "Steps run again after a write conflict", ["service"]).labels
)
queue_age = cache(
    Gauge(
        "saga_queue_age_seconds", "Age of the oldest event of the last batch when it was read", ["service"]
    ).labels
)
batch_messages = cache(
    Histogram(
        "saga_batch_messages", "Messages in a batch", ["service"], buckets=(1, 2, 5, 10, 20, 50, 100, 200)
    ).labels
)

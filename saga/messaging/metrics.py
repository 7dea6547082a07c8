"""What is counted of the messages, for Prometheus.

Those that every batch counts are functions of their labels, which look each child up once.
"""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

EVENTS = cache(
    Counter("saga_events", "Events handled, by type and outcome", ["service", "type", "outcome"]).labels
)
PUBLISHED = cache(
    Counter("saga_published", "Events published and confirmed, by type", ["service", "type"]).labels
)
RETRIES = Counter("saga_retries", "Messages put off to be tried again, by type", ["service", "type"])
DEAD_LETTERS = Counter("saga_dead_letters", "Messages put into the dead-letter queue", ["service"])
QUARANTINED = Counter("saga_suspects", "Messages set aside to be read alone", ["service"])
PAUSES = Counter("saga_pauses", "Times that reading stopped because something was away", ["service"])
QUEUE_AGE = cache(
    Gauge(
        "saga_queue_age_seconds", "Age of the oldest event of the last batch when it was read", ["service"]
    ).labels
)
BATCH = cache(
    Histogram(
        "saga_batch_messages", "Messages in a batch", ["service"], buckets=(1, 2, 5, 10, 20, 50, 100, 200)
    ).labels
)

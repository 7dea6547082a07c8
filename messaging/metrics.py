"""What is counted of the messages, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("saga_events", "Events handled, by type and outcome", ["service", "type", "outcome"])
PUBLISHED = Counter("saga_published", "Events published and confirmed, by type", ["service", "type"])
RETRIES = Counter("saga_retries", "Messages put off to be tried again, by type", ["service", "type"])
DEAD_LETTERS = Counter("saga_dead_letters", "Messages put into the dead-letter queue", ["service"])
SUSPECTS = Counter("saga_suspects", "Messages set aside to be read alone", ["service"])
PAUSES = Counter("saga_pauses", "Times that reading stopped because something was away", ["service"])
QUEUE_AGE = Gauge(
    "saga_queue_age_seconds", "Age of the oldest event of the last batch when it was read", ["service"]
)
BATCH = Histogram(
    "saga_batch_messages", "Messages in a batch", ["service"], buckets=(1, 2, 5, 10, 20, 50, 100, 200)
)

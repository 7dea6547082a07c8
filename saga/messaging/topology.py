"""The names of everything a service has at the broker, as plain data."""

from collections.abc import Collection
from dataclasses import dataclass

from events.catalogue import EVENT_TYPES, short_name

DELIVERY_LIMIT = 50
"""Redeliveries after which the broker itself dead-letters. High, since a consumer that crashes counts against
every message it had prefetched; `saga.messaging.poison` finds the one to blame long before."""
UNLIMITED = 1_000_000_000
"""A delivery limit that is never reached: RabbitMQ 4 has a default, and 3.10 no way to set none."""

DEFAULT_DELAYS = (1.0, 5.0, 30.0, 300.0)
QUARANTINE_KEY = "quarantine"

Arguments = dict[str, str | int]


def exchange_of(service: str) -> str:
    """Return the topic exchange that a service publishes its events to: `order.events`."""
    return f"{short_name(service)}.events"


def home_exchange(event_type: str) -> str:
    """Return the only exchange an event of this type may come through."""
    return exchange_of(EVENT_TYPES[event_type].published_by)


@dataclass(frozen=True, slots=True)
class Topology:
    """What one service declares at the broker, and which queues of others it needs.

    `reacts_to` and `publishes` are event types, taken from the service's reaction table; `delays` are the
    pauses before a failed message is tried again, in seconds, one for each attempt.
    """

    service: str
    reacts_to: Collection[str]
    publishes: Collection[str]
    delays: tuple[float, ...] = DEFAULT_DELAYS

    @property
    def exchange(self) -> str:
        return exchange_of(self.service)

    @property
    def queue(self) -> str:
        return self.service

    @property
    def quarantine_queue(self) -> str:
        return f"{self.service}.quarantine"

    @property
    def retry_exchange(self) -> str:
        return f"{self.service}.retry"

    @property
    def return_exchange(self) -> str:
        """The exchange through which a delayed, replayed or republished message returns to the queue."""
        return f"{self.service}.return"

    @property
    def dead_letter_exchange(self) -> str:
        return f"{self.service}.dead"

    @property
    def dead_letter_queue(self) -> str:
        """Named like its exchange."""
        return self.dead_letter_exchange

    def delay_key(self, attempt: int) -> str:
        """Return the routing key, at the retry exchange, of the pause before the next attempt."""
        return f"{round(self.delays[attempt] * 1000)}ms"

    @property
    def exchanges(self) -> dict[str, str]:
        """Every exchange of the service, with its type."""
        return {
            self.exchange: "topic",
            self.retry_exchange: "direct",
            self.return_exchange: "fanout",
            self.dead_letter_exchange: "fanout",
        }

    @property
    def queues(self) -> dict[str, Arguments]:
        """Every queue of the service, with its arguments, which can never be changed later."""
        quorum: Arguments = {"x-queue-type": "quorum"}
        at_least_once: Arguments = {
            **quorum,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        read: Arguments = {
            **at_least_once,
            "x-dead-letter-exchange": self.dead_letter_exchange,
            "x-delivery-limit": DELIVERY_LIMIT,
        }
        pauses: dict[str, Arguments] = {
            f"{self.retry_exchange}.{self.delay_key(attempt)}": {
                **at_least_once,
                "x-dead-letter-exchange": self.return_exchange,
                "x-message-ttl": round(delay * 1000),
            }
            for attempt, delay in enumerate(self.delays)
        }
        return {
            self.queue: read,
            self.quarantine_queue: read,
            self.dead_letter_queue: {**quorum, "x-delivery-limit": UNLIMITED},
            **pauses,
        }

    @property
    def own_bindings(self) -> list[tuple[str, str, str]]:
        """Queue, exchange and routing key of every binding among the service's own objects."""
        return [
            (self.queue, self.return_exchange, ""),
            (self.quarantine_queue, self.retry_exchange, QUARANTINE_KEY),
            (self.dead_letter_queue, self.dead_letter_exchange, ""),
            *(
                (
                    f"{self.retry_exchange}.{self.delay_key(attempt)}",
                    self.retry_exchange,
                    self.delay_key(attempt),
                )
                for attempt in range(len(self.delays))
            ),
        ]

    @property
    def event_bindings(self) -> list[tuple[str, str, str]]:
        """Queue, exchange and routing key of every event the service reacts to, sorted."""
        return [(self.queue, home_exchange(kind), f"{kind}.#") for kind in sorted(self.reacts_to)]

    @property
    def required_queues(self) -> list[str]:
        """The queues that must exist before anything is published, so that no event is lost.

        A queue that exists need not be bound yet, and `mandatory` is satisfied by any one queue. Each reader
        therefore declares its quarantine queue last, when it is bound to all its events.
        """
        readers = {reader for kind in self.publishes for reader in EVENT_TYPES[kind].handled_by}
        return sorted(
            name for reader in readers - {self.service} for name in (reader, f"{reader}.quarantine")
        )

"""What is published before a message is acknowledged: what follows from it, or a copy of it."""

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from events.catalogue import Event
from events.encoded import EncodedEvent
from saga import metrics
from saga.messaging.message import Delivery, Message, dead_lettered, delayed, to_message
from saga.messaging.publisher import Publisher
from saga.messaging.results import Handled, Retry
from saga.messaging.topology import Topology

log = structlog.get_logger()

Settled = tuple[Delivery, Event, Handled | Retry]
"""A delivery, its event, and the result of handling it."""


class Settlement:
    """Publishes the results of handling a queue's messages."""

    def __init__(self, topology: Topology, queue: str, clock: Callable[[], datetime]) -> None:
        self._topology = topology
        self._queue = queue
        self._clock = clock

    async def publish(
        self, settled: Sequence[Settled], copies: Sequence[Message], publisher: Publisher
    ) -> None:
        """Publish what follows from these, each event once, and the copies.

        Raises:
            Unavailable: some of it may not have been published, and nothing may be acknowledged.
        """
        service = self._topology.service
        follow_ups: dict[str, EncodedEvent] = {}
        copies = list(copies)
        for delivery, event, result in settled:
            if isinstance(result, Retry):
                copies.append(self._schedule_retry(delivery, event, result.reason))
            else:
                follow_ups.update({follow_up.event_id: follow_up for follow_up in result.publish})
        await publisher.send([*map(to_message, follow_ups.values()), *copies])
        for follow_up in follow_ups.values():
            metrics.published(service, follow_up.type).inc()
        for _, event, result in settled:
            outcome = "retry" if isinstance(result, Retry) else result.outcome
            metrics.events(service, event.type, outcome).inc()

    def dead_letter(self, delivery: Delivery, reason: str) -> Message:
        """Return the copy for the dead-letter queue, and report it."""
        metrics.dead_letters(self._topology.service).inc()
        log.error("dead_lettered", queue=self._queue, reason=reason, message_id=delivery.message_id)
        return dead_lettered(delivery, self._topology, reason, self._clock())

    def _schedule_retry(self, delivery: Delivery, event: Event, reason: str) -> Message:
        if delivery.attempts >= len(self._topology.delays):
            return self.dead_letter(delivery, f"out of attempts: {reason}")
        metrics.retries(self._topology.service, event.type).inc()
        return delayed(delivery, self._topology, event, reason, self._clock())

"""Publishes unanswered requests again, for sagas that do not move.

A broker that loses its messages leaves aggregates that would wait without limit. Each keeps what it has
published, so that its open requests can be published again, with the same ids: a service that has answered
before gives the same answer.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from events.codec import InvalidEvent
from events.encoded import EncodedEvent
from saga import metrics
from saga.backoff import backoff
from saga.messaging.message import to_message
from saga.messaging.publisher import BacklogAwarePublisher
from saga.reactions.unit_of_work import LoadedAggregate, Patience

log = structlog.get_logger()

BACKLOG_LIMIT = 100
"""Messages waiting from which on a reader counts as behind."""
BATCH = 200
"""Aggregates nudged together."""
LONGEST_PAUSE = timedelta(hours=1)
"""The longest pause between two nudges of one aggregate."""


class Waiting(Protocol):
    """The aggregates of a store that may wait for an answer."""

    async def waking(self) -> list[str]:
        """Return the keys of all aggregates that have to be woken some day; no other waits for anything."""

    async def readable(self, keys: Collection[str]) -> list[LoadedAggregate[Any]]:
        """Return those of these that can be read."""


class Nudge:
    """Nudges the aggregates of one service."""

    def __init__(
        self,
        service: str,
        publisher: BacklogAwarePublisher,
        store: Waiting,
        clock: Callable[[], datetime],
        patience: Patience,
    ) -> None:
        self._service = service
        self._publisher = publisher
        self._store = store
        self._clock = clock
        self._patience = patience

    async def nudge_due(self, entries: Sequence[LoadedAggregate[Any]]) -> None:
        """Nudge those of these that have waited for long enough, and set the time of their next nudge.

        While some reader is behind, they are only postponed: what they wait for may be in a queue, and asking
        again would make it longer.

        Raises:
            Unavailable: the broker cannot be reached.
        """
        now = self._clock()
        due = [entry for entry in entries if entry.nudge_at and entry.nudge_at <= now]
        if not due:
            return
        if await self._publisher.backlog() <= BACKLOG_LIMIT:
            await self.nudge(due)
            for entry in due:
                entry.nudges += 1
                entry.nudge_at = now + backoff(self._patience.nudge, entry.nudges, LONGEST_PAUSE)
            return
        for entry in due:
            waited = now - entry.updated_at if entry.updated_at else timedelta()
            entry.nudge_at = now + min(max(self._patience.nudge, waited), LONGEST_PAUSE)

    async def nudge_all(self) -> list[EncodedEvent]:
        """Nudge all that wait, however short; return the published events.

        Raises:
            Unavailable: the broker or the database cannot be reached; some may have been nudged.
        """
        published: list[EncodedEvent] = []
        keys = sorted(await self._store.waking())
        for first in range(0, len(keys), BATCH):
            published += await self.nudge(await self._store.readable(keys[first : first + BATCH]))
        return published

    async def nudge(self, entries: Collection[LoadedAggregate[Any]]) -> list[EncodedEvent]:
        """Publish the unanswered requests of these aggregates; return them.

        Raises:
            Unavailable: the broker cannot be reached.
        """
        events = [event for entry in entries for event in _readable(entry)]
        await self._publisher.send([to_message(event) for event in events])
        for event in events:
            metrics.nudged(self._service, event.type).inc()
            log.info("nudged", type=event.type, order_id=event.order_id, correlation_id=event.correlation_id)
        return events


def _readable(entry: LoadedAggregate[Any]) -> list[EncodedEvent]:
    """Return an entry's unanswered requests; log and skip it if they cannot be decoded."""
    try:
        return unanswered(entry)
    except InvalidEvent as error:
        log.error("unreadable_document", order_id=entry.key, error=str(error))
        return []


def unanswered(entry: LoadedAggregate[Any]) -> list[EncodedEvent]:
    """Return the unanswered requests of an aggregate: those in its journal, and the adopted ones.

    Raises:
        InvalidEvent: its journal cannot be read.
    """
    if entry.state is None or not entry.state.unanswered_requests:
        return []
    kinds = {kind.__name__ for kind in entry.state.unanswered_requests}
    recorded = (EncodedEvent.read(body) for record in entry.journal.values() for body in record.emitted)
    adopted = (EncodedEvent.of(event) for event in entry.state.adopted_requests)
    return [event for event in (*recorded, *adopted) if event.type in kinds]

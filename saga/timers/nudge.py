"""Publishes unanswered requests again, for sagas that do not move.

A broker that loses its messages leaves aggregates that would wait without limit. Each keeps what it has
published, so that its open requests can be published again, with the same ids: a service that has answered
before gives the same answer.
"""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from events.catalogue import Event
from events.codec import InvalidEvent, from_json
from saga import metrics
from saga.backoff import backoff
from saga.messaging.message import to_message
from saga.messaging.publisher import BacklogAwarePublisher
from saga.reactions.unit_of_work import LoadedAggregate

log = structlog.get_logger()

BACKLOG_LIMIT = 100
"""Messages waiting from which on a reader counts as behind."""
LIMIT = 200
"""Aggregates nudged together."""
LONGEST_PAUSE = timedelta(hours=1)
"""The longest pause between two nudges of one aggregate."""
FAR_FUTURE = timedelta(days=366)


class Waiting(Protocol):
    """The aggregates of a store that wait for the answer to a request."""

    async def waiting(
        self, before: datetime, limit: int, after: str | None = None
    ) -> list[LoadedAggregate[Any]]:
        """Return those to be nudged before that moment: the longest waiting first or, with `after`, those
        behind that key, in the order of their keys."""

    async def mark_nudged(self, entries: Collection[LoadedAggregate[Any]]) -> None:
        """Nudge these later the next time, unless they have changed since."""


class Nudge:
    """Nudges the aggregates of one service."""

    def __init__(
        self, service: str, publisher: BacklogAwarePublisher, store: Waiting, clock: Callable[[], datetime]
    ) -> None:
        self._service = service
        self._publisher = publisher
        self._store = store
        self._clock = clock

    async def sweep(self) -> None:
        """Nudge those that have waited for long enough, unless some reader is behind.

        What they wait for may then be in a queue, and asking again would only make it longer.

        Raises:
            Unavailable: the broker or the database cannot be reached.
        """
        if await self._store.waiting(self._clock(), 1) and await self._publisher.backlog() > BACKLOG_LIMIT:
            return
        if due := await self._store.waiting(self._clock(), LIMIT):
            await self.nudge(due)

    async def nudge_all(self) -> list[Event]:
        """Nudge all that wait, however short; return the published events.

        Raises:
            Unavailable: the broker or the database cannot be reached; some may have been nudged.
        """
        published: list[Event] = []
        last = ""  # before every key
        while batch := await self._store.waiting(self._clock() + FAR_FUTURE, LIMIT, last):
            published += await self.nudge(batch)
            last = batch[-1].key
        return published

    async def nudge(self, entries: list[LoadedAggregate[Any]]) -> list[Event]:
        """Publish the unanswered requests of these aggregates; return them.

        Raises:
            Unavailable: the broker or the database cannot be reached.
        """
        events = [event for entry in entries for event in _readable(entry)]
        await self._publisher.send([to_message(event) for event in events])
        for event in events:
            metrics.nudged(self._service, event.type).inc()
            log.info("nudged", type=event.type, order_id=event.order_id, correlation_id=event.correlation_id)
        await self._store.mark_nudged(entries)
        return events


def _readable(entry: LoadedAggregate[Any]) -> list[Event]:
    """Return an entry's unanswered requests; log and skip it if they cannot be decoded."""
    try:
        return unanswered(entry)
    except InvalidEvent as error:
        log.error("unreadable_document", order_id=entry.key, error=str(error))
        return []


def unanswered(entry: LoadedAggregate[Any]) -> list[Event]:
    """Return the unanswered requests of an aggregate: those in its journal, and the adopted ones."""
    if entry.state is None:
        return []
    unanswered_requests = {kind.__name__ for kind in entry.state.unanswered_requests}
    recorded = [
        from_json(event)
        for record in entry.journal.values()
        for event in record.emitted
        if event["type"] in unanswered_requests
    ]
    return [
        *recorded,
        *(event for event in entry.state.adopted_requests if event.type in unanswered_requests),
    ]


def pause(after: timedelta, nudges: int) -> timedelta:
    """Return the pause before the next nudge, after this many without an answer."""
    return backoff(after, nudges, LONGEST_PAUSE)

"""Wakes aggregates at their time: one sweeper for everything that has to be done and no message will do.

Whatever ends a wake-up early leaves the time at which the aggregate is due, so that the next sweep, here or
in another replica, starts over.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import structlog

from events.codec import InvalidEvent
from events.encoded import EncodedEvent
from saga.errors import Unavailable
from saga.messaging.publisher import Publisher
from saga.reactions.aggregate import Aggregate
from saga.reactions.unit_of_work import LoadedAggregate
from saga.timers.nudge import Nudge
from saga.timers.relay import Relay

A = TypeVar("A", bound=Aggregate)

log = structlog.get_logger()

BATCH = 100
"""Aggregates woken together."""


class Sleeping(Protocol[A]):
    """The aggregates of a service, and what the clock does to them."""

    async def due(self) -> list[str]:
        """Return the keys of those that have to be woken by now, the longest overdue first."""

    async def readable(self, keys: Collection[str]) -> list[LoadedAggregate[A]]:
        """Return those of these that can be read."""

    async def act_on_time(self, due: Sequence[A]) -> None:
        """Do what the clock has to do to aggregates whose `due_at` has come."""

    async def reschedule(self, entries: Sequence[LoadedAggregate[A]]) -> None:
        """Save when these have to be woken next."""


class WakeUps(Generic[A]):
    """Wakes the aggregates of one service; any number of replicas may do so at the same time."""

    def __init__(
        self,
        sleeping: Sleeping[A],
        publisher: Publisher,
        relay: Relay,
        nudge: Nudge,
        clock: Callable[[], datetime],
    ) -> None:
        self._sleeping = sleeping
        self._publisher = publisher
        self._relay = relay
        self._nudge = nudge
        self._clock = clock

    async def run(self, every: float) -> None:
        """Sweep every so many seconds, until cancelled."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.sweep()
            except Unavailable as why:
                log.warning("wake_ups_postponed", reason=str(why))
            except Exception:
                log.exception("wake_ups_failed")

    async def sweep(self) -> None:
        """Wake what is due.

        Raises:
            Unavailable: the broker, the database or what the clock needs cannot be used; all else is done.
        """
        failure: Unavailable | None = None
        keys = await self._sleeping.due()
        for first in range(0, len(keys), BATCH):
            await self._publisher.check()
            entries = await self._sleeping.readable(keys[first : first + BATCH])
            try:
                await self._wake(entries)
            except Unavailable as why:
                failure = why
        if failure:
            raise failure

    async def _wake(self, entries: Collection[LoadedAggregate[A]]) -> None:
        now = self._clock()
        due = [entry for entry in entries if entry.wake_at and entry.wake_at <= now]
        failure: Unavailable | None = None
        try:
            await self._publish(due)
            others = [entry for entry in due if not _is_due(entry, now)]
            await self._nudge.nudge_due(others)
            await self._sleeping.reschedule(others)
        except Unavailable as why:
            failure = why
        if by_clock := [entry.state for entry in due if entry.state and _is_due(entry, now)]:
            await self._sleeping.act_on_time(by_clock)
        if failure:
            raise failure

    async def _publish(self, entries: Sequence[LoadedAggregate[A]]) -> None:
        events = [event for entry in entries for event in _unpublished(entry)]
        await self._relay.publish([event for event in events if not self._relay.is_published(event)], "sweep")


def _is_due(entry: LoadedAggregate[Any], now: datetime) -> bool:
    due_at = entry.state.due_at if entry.state else None
    return due_at is not None and due_at <= now


def _unpublished(entry: LoadedAggregate[Any]) -> list[EncodedEvent]:
    """Return an entry's unpublished events; log and skip it if they cannot be decoded."""
    try:
        return entry.unpublished
    except InvalidEvent as error:
        log.error("unreadable_document", order_id=entry.key, error=str(error))
        return []

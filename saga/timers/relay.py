"""Publishes the outbox: immediately when possible, otherwise in a later sweep."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from events.catalogue import Event
from saga import metrics
from saga.errors import Unavailable
from saga.messaging.message import to_message
from saga.messaging.publisher import Publisher

log = structlog.get_logger()

SWEEP_LIMIT = 500
HANDED_OVER_LIMIT = 2000


class Outbox(Protocol):
    """The unpublished events of a store."""

    async def unpublished(self, before: datetime, limit: int) -> list[Event]:
        """Return events that have waited since before that moment, oldest first."""

    async def mark_published(self, events: Mapping[str, Sequence[str]]) -> None:
        """Forget these as unpublished: event ids by aggregate."""

    async def ping(self) -> None:
        """Return if the store answers; else raise `saga.errors.Unavailable`."""


class Relay:
    """Publishes the events of an outbox, any number of replicas side by side.

    A process that saves events for the relay hands them over, to be published at once; after
    `relay_after` seconds, any replica publishes an event that is still in the outbox.
    """

    def __init__(
        self,
        service: str,
        publisher: Publisher,
        outbox: Outbox,
        clock: Callable[[], datetime],
        relay_after: float = 2.0,
    ) -> None:
        self._service = service
        self._publisher = publisher
        self._outbox = outbox
        self._clock = clock
        self._relay_after = relay_after
        self._handed_over: list[Event] = []
        self._wake = asyncio.Event()

    def hand_over(self, events: Sequence[Event]) -> None:
        """Have these published at once; beyond a limit, or if that fails, they are swept up later."""
        if len(self._handed_over) + len(events) <= HANDED_OVER_LIMIT:
            self._handed_over += events
            self._wake.set()

    async def run(self) -> None:
        """Publish what is handed over, and sweep once in a while, until cancelled."""
        next_sweep = 0.0
        loop = asyncio.get_running_loop()
        clock = loop.time
        while True:
            alarm = loop.call_at(next_sweep, self._wake.set)
            await self._wake.wait()
            alarm.cancel()
            self._wake.clear()
            try:
                await self.publish_handed_over()
                if clock() >= next_sweep:
                    next_sweep = clock() + self._relay_after / 2
                    await self.sweep()
            except Unavailable as why:
                log.warning("relay_postponed", service=self._service, reason=str(why))
                next_sweep = clock() + self._relay_after / 2
            except Exception:
                log.exception("relay_failed", service=self._service)
                next_sweep = clock() + self._relay_after / 2

    async def publish_handed_over(self) -> None:
        """Publish what was handed over since the last time."""
        events, self._handed_over = self._handed_over, []
        await self._publish(events, "immediate")

    async def sweep(self) -> None:
        """Publish what has waited for too long."""
        await self._publisher.check()
        before = self._clock() - timedelta(seconds=self._relay_after)
        await self._publish(await self._outbox.unpublished(before, SWEEP_LIMIT), "sweep")

    async def _publish(self, events: Sequence[Event], path: str) -> None:
        if not events:
            return
        await self._publisher.send([to_message(event) for event in events])
        metrics.relayed(self._service, path).inc(len(events))
        done: dict[str, list[str]] = defaultdict(list)
        for event in events:
            done[event.order_id].append(str(event.event_id))
        await self._outbox.mark_published(done)

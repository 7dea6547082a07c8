"""Publishes what no message would publish again, at once when it is saved."""

import asyncio
from collections.abc import Sequence

import structlog

from events.encoded import EncodedEvent
from saga import metrics
from saga.errors import Unavailable
from saga.messaging.message import to_message
from saga.messaging.publisher import Publisher
from saga.reactions.cache import PublishedEvents

log = structlog.get_logger()

HANDED_OVER_LIMIT = 2000


class Relay:
    """Publishes saved events, and marks those that the broker has confirmed.

    What is handed over and cannot be published stays marked as unpublished in its aggregate, whose wake-up
    publishes it later, in any replica.
    """

    def __init__(self, service: str, publisher: Publisher, published: PublishedEvents) -> None:
        self._service = service
        self._publisher = publisher
        self._published = published
        self._handed_over: list[EncodedEvent] = []
        self._wake = asyncio.Event()

    def hand_over(self, events: Sequence[EncodedEvent]) -> None:
        """Have these published at once; beyond a limit, their wake-up publishes them."""
        if len(self._handed_over) + len(events) <= HANDED_OVER_LIMIT:
            self._handed_over += events
            self._wake.set()

    def is_published(self, event: EncodedEvent) -> bool:
        """Return whether this process has seen the broker confirm an event, and not saved that yet."""
        return event.event_id in self._published.of(event.order_id)

    async def run(self) -> None:
        """Publish what is handed over, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.publish_handed_over()
            except Unavailable as why:
                log.warning("relay_postponed", service=self._service, reason=str(why))
            except Exception:
                log.exception("relay_failed", service=self._service)

    async def publish_handed_over(self) -> None:
        """Publish what was handed over since the last time."""
        events, self._handed_over = self._handed_over, []
        await self.publish(events, "immediate")

    async def publish(self, events: Sequence[EncodedEvent], path: str) -> None:
        """Publish these, and mark them as published.

        Raises:
            Unavailable: the broker has not confirmed all of them; they are unpublished.
        """
        if not events:
            return
        await self._publisher.send([to_message(event) for event in events])
        metrics.relayed(self._service, path).inc(len(events))
        for event in events:
            self._published.add(event.order_id, event.event_id)

"""From delivery to acknowledgement: read a batch, have it handled, publish, acknowledge.

The acknowledgement comes last, after the broker has confirmed everything that the batch published. A crash
anywhere before it means redelivery, and a redelivered event only publishes again what it published before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

import structlog

from events.catalogue import Event
from events.codec import InvalidEvent
from saga import metrics
from saga.backoff import backoff, jittered
from saga.clock import utc_now
from saga.errors import Unavailable
from saga.messaging.message import Delivery, Message, for_quarantine, read_event, republished
from saga.messaging.poison import CrashCounter
from saga.messaging.publisher import Publisher
from saga.messaging.results import Deferred, Handled, Handler, Result, Retry
from saga.messaging.settlement import Settled, Settlement
from saga.messaging.subscription import Subscription
from saga.messaging.topology import Topology

log = structlog.get_logger()

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


class BatchConsumer:
    """Reads one queue of a service.

    `available` raises `Unavailable` while the handler cannot work. With `quarantined`, the queue is the
    quarantine: messages are handled one by one, and one that keeps crashing its reader is dead-lettered. With
    `check_publisher`, so is one whose publisher may not publish such an event.
    """

    def __init__(
        self,
        topology: Topology,
        handle: Handler,
        available: Callable[[], Awaitable[None]],
        *,
        batch_limit: int = 100,
        quarantined: bool = False,
        check_publisher: bool = False,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.topology = topology
        self.queue = topology.quarantine_queue if quarantined else topology.queue
        self._handle = handle
        self._available = available
        self._limit = 1 if quarantined else batch_limit
        self.quarantined = quarantined
        self._check_publisher = check_publisher
        self._clock = clock
        self._deferred: set[asyncio.Task[None]] = set()
        self._ready: list[Settled] = []
        """Deferred results that are to be published and acknowledged together."""
        self._crashes = CrashCounter()
        self._settlement = Settlement(topology, self.queue, clock)

    async def run(self, subscription: Subscription, publisher: Publisher) -> None:
        """Read until the subscription is closed, then wait for the deferred results."""
        try:
            await self._read(subscription, publisher)
        finally:
            self._crashes.record_harmless(subscription.unacknowledged)
        while self._deferred:
            await asyncio.wait(self._deferred)

    async def abandon(self) -> None:
        """Drop the deferred results: their messages belong to a connection that is lost."""
        for task in self._deferred:
            task.cancel()
        await asyncio.gather(*self._deferred, return_exceptions=True)
        self._ready.clear()

    async def _read(self, subscription: Subscription, publisher: Publisher) -> None:
        await subscription.resume()
        attempts = 0
        while batch := await subscription.take(self._limit):
            while not await self._processed(batch, subscription, publisher):
                await subscription.pause()
                released = await self._release(batch, subscription, publisher)
                metrics.pauses(self.topology.service).inc()
                attempts = await self._wait_until_available(attempts, subscription, publisher)
                log.info("reading_resumed", queue=self.queue)
                await subscription.resume()
                if released or subscription.closed:
                    break
            else:
                attempts = 0

    async def _processed(
        self, batch: Sequence[Delivery], subscription: Subscription, publisher: Publisher
    ) -> bool:
        try:
            await self._process(batch, subscription, publisher)
        except Unavailable as error:
            log.warning("reading_paused", queue=self.queue, reason=str(error))
            self._crashes.record_harmless(subscription.unacknowledged)
            return False
        except Exception:
            # An unforeseen error counts like a crash: its messages are requeued, and the one to blame is soon
            # read alone, where each requeueing counts against it until it is dead-lettered.
            log.exception("handling_failed", queue=self.queue)
            if not self.quarantined:
                return False
            await subscription.requeue(batch)
        return True

    async def _process(
        self, batch: Sequence[Delivery], subscription: Subscription, publisher: Publisher
    ) -> None:
        batch = await self._republish(batch, subscription, publisher)
        metrics.batch_messages(self.topology.service).observe(len(batch))
        accepted: list[tuple[Delivery, Event]] = []
        diverted: list[Message] = []
        for delivery in batch:
            if isinstance(read := self._screen(delivery), Message):
                diverted.append(read)
            else:
                accepted.append((delivery, read))
        events = [event for _, event in accepted]
        self._observe_age(events)
        deferred = []
        settled = []
        for (delivery, event), result in zip(accepted, await self._results(events), strict=True):
            if isinstance(result, Deferred):
                deferred.append((delivery, event, result.result))
            else:
                settled.append((delivery, event, result))
        await self._settlement.publish(settled, diverted, publisher)
        in_progress = {delivery for delivery, _, _ in deferred}
        await subscription.ack([delivery for delivery in batch if delivery not in in_progress])
        for delivery, event, awaited in deferred:
            self._start(self._settle_deferred(delivery, event, awaited, subscription, publisher))

    async def _republish(
        self, batch: Sequence[Delivery], subscription: Subscription, publisher: Publisher
    ) -> Sequence[Delivery]:
        """Republish harmless messages before they reach the broker's delivery limit; return the others."""
        if not (near_limit := [delivery for delivery in batch if self._crashes.nears_limit(delivery)]):
            return batch
        await publisher.send([republished(delivery, self.topology) for delivery in near_limit])
        await subscription.ack(near_limit)
        for delivery in near_limit:
            self._crashes.forget(delivery)
        return [delivery for delivery in batch if delivery not in near_limit]

    def _screen(self, delivery: Delivery) -> Event | Message:
        """Return the event of a delivery, or the copy to publish instead of handling it."""
        if self.quarantined and self._crashes.is_poison(delivery):
            return self._settlement.dead_letter(
                delivery, "poison message: its reader crashed each time it was read alone"
            )
        if not self.quarantined and self._crashes.is_suspect(delivery):
            metrics.quarantined(self.topology.service).inc()
            return for_quarantine(delivery, self.topology, self._clock())
        try:
            return read_event(delivery, self.topology, self._clock(), check_publisher=self._check_publisher)
        except InvalidEvent as error:
            return self._settlement.dead_letter(delivery, str(error))
        except Exception as error:
            # Reading it again would fail again, and must not delay the other messages.
            log.exception("reading_failed", queue=self.queue, message_id=delivery.message_id)
            return self._settlement.dead_letter(delivery, f"reading it failed: {type(error).__name__}")

    async def _results(self, events: Sequence[Event]) -> Sequence[Result]:
        if not events:
            return []
        try:
            return await self._handle(events)
        except Unavailable:
            raise
        except Exception as error:
            # A batch that cannot be handled as one is handled event by event, so that only the event to
            # blame is tried again.
            if len(events) > 1:
                return [result for event in events for result in await self._results([event])]
            return [self._failed(events[0], error)]

    def _failed(self, event: Event, error: Exception) -> Retry:
        log.exception("handling_failed", event_id=event.event_id, correlation_id=event.correlation_id)
        return Retry(f"{type(error).__name__}: {error}")

    async def _release(
        self, batch: Sequence[Delivery], subscription: Subscription, publisher: Publisher
    ) -> bool:
        """Return deliveries to the broker; tell whether that was possible.

        A quarantined message is republished instead of requeued, which would count like a crash: that it was
        not handled shows that it has not crashed this process, and its count begins at zero.
        """
        if not self.quarantined:
            await subscription.requeue(batch)
            return True
        now = self._clock()
        try:
            await publisher.send([for_quarantine(delivery, self.topology, now) for delivery in batch])
        except Unavailable:
            return False
        await subscription.ack(batch)
        return True

    async def _wait_until_available(
        self, attempts: int, subscription: Subscription, publisher: Publisher
    ) -> int:
        """Wait for one pause or more, until broker and handler can work or the subscription is closed.

        `attempts` counts the pauses since work last succeeded; return it with those made here.
        """
        while not subscription.closed:
            await asyncio.sleep(jittered(backoff(FIRST_PAUSE, attempts, LONGEST_PAUSE)))
            attempts += 1
            try:
                await publisher.check()
                await self._available()
                break
            except Unavailable as error:
                log.info("still_unavailable", queue=self.queue, reason=str(error))
        return attempts

    async def _settle_deferred(
        self,
        delivery: Delivery,
        event: Event,
        awaited: Awaitable[Handled | Retry],
        subscription: Subscription,
        publisher: Publisher,
    ) -> None:
        try:
            result = await awaited
        except Unavailable as error:
            log.warning("requeued", queue=self.queue, reason=str(error), correlation_id=event.correlation_id)
            await self._wait_until_available(0, subscription, publisher)
            if not self.quarantined:
                self._crashes.record_harmless([delivery])
            while not await self._release([delivery], subscription, publisher) and not subscription.closed:
                await self._wait_until_available(0, subscription, publisher)
            return
        except Exception as error:
            result = self._failed(event, error)
        self._ready.append((delivery, event, result))
        if len(self._ready) == 1:
            self._start(self._settle_ready(subscription, publisher))

    async def _settle_ready(self, subscription: Subscription, publisher: Publisher) -> None:
        """Settle what is ready at this moment; a message in trouble then waits without the others."""
        ready, self._ready = self._ready, []
        if not await self._settled(ready, subscription, publisher):
            for one in ready:
                self._start(self._settle_later(one, subscription, publisher))

    async def _settle_later(self, settled: Settled, subscription: Subscription, publisher: Publisher) -> None:
        attempts = 0
        while not await self._settled([settled], subscription, publisher) and not subscription.closed:
            attempts = await self._wait_until_available(attempts, subscription, publisher)

    async def _settled(
        self, ready: Sequence[Settled], subscription: Subscription, publisher: Publisher
    ) -> bool:
        try:
            await self._settlement.publish(ready, [], publisher)
        except Unavailable as error:
            log.warning("publishing_delayed", queue=self.queue, reason=str(error))
            return False
        await subscription.ack([delivery for delivery, _, _ in ready])
        return True

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._deferred.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._deferred.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("settling_failed", queue=self.queue, error=repr(error))

    def _observe_age(self, events: Iterable[Event]) -> None:
        now = self._clock()
        ages = [(now - event.occurred_at).total_seconds() for event in events if event.occurred_at]
        if ages:
            metrics.queue_age(self.topology.service).set(max(0.0, *ages))

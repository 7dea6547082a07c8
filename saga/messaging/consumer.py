"""From delivery to acknowledgement: read a batch, have it handled, publish, acknowledge.

The acknowledgement comes last, after the broker has confirmed everything that the batch published. A crash
anywhere before it means redelivery, and a redelivered event only publishes again what it published before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256

import structlog

from events.catalogue import Event
from events.codec import InvalidEvent
from saga import metrics
from saga.backoff import backoff, jittered
from saga.errors import Unavailable
from saga.messaging.message import (
    Delivery,
    Message,
    dead,
    delayed,
    for_quarantine,
    read,
    republished,
    to_message,
)
from saga.messaging.publisher import Publisher
from saga.messaging.results import Deferred, Handled, Handler, Result, Retry
from saga.messaging.subscription import Subscription
from saga.messaging.topology import POISON_AFTER, QUARANTINE_AFTER, REPUBLISH_AFTER, Topology

log = structlog.get_logger()

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
EXCUSED_LIMIT = 10_000
"""Messages whose redeliveries are remembered as nobody's death; beyond that, the oldest are forgotten."""


class BatchConsumer:
    """Reads one queue of a service.

    `available` raises `Unavailable` while the handler cannot work. With `quarantined`, the queue is the one
    of
    the suspects: messages are handled one by one, and one that keeps killing its reader is put away. With
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
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.topology = topology
        self.queue = topology.quarantine_queue if quarantined else topology.queue
        self._handle = handle
        self._available = available
        self._limit = 1 if quarantined else batch_limit
        self.quarantined = quarantined
        self._check_sender = check_publisher
        self._clock = clock
        self._later: set[asyncio.Task[None]] = set()
        self._excused: dict[str, int] = {}
        """Redeliveries that killed nobody, by message: we live, and remember them."""

    async def run(self, subscription: Subscription, publisher: Publisher) -> None:
        """Read until the inbox is closed, then wait for what is under way."""
        try:
            await self._read(subscription, publisher)
        finally:
            self._excuse(subscription.unacknowledged)
        if self._later:
            await asyncio.wait(self._later)

    async def _read(self, subscription: Subscription, publisher: Publisher) -> None:
        await subscription.resume()
        pause = FIRST_PAUSE
        while batch := await subscription.take(self._limit):
            while not await self._processed(batch, subscription, publisher):
                await subscription.pause()
                gone = await self._let_go(batch, subscription, publisher)
                pause = await self._sit_out(pause, subscription, publisher)
                if gone or subscription.closed:
                    break
            else:
                pause = FIRST_PAUSE

    async def abandon(self) -> None:
        """Drop what is under way: its messages belong to a connection that is gone."""
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)

    async def _processed(
        self, batch: Sequence[Delivery], subscription: Subscription, publisher: Publisher
    ) -> bool:
        try:
            await self._process(batch, subscription, publisher)
        except Unavailable as why:
            log.warning("reading_paused", queue=self.queue, reason=str(why))
            self._excuse(subscription.unacknowledged)
            return False
        except Exception:
            # Nobody foresaw this one. The messages are given back, and the one to blame is soon read alone;
            # once it is, giving it back counts against it, until it is put away.
            log.exception("handling_failed", queue=self.queue)
            if not self.quarantined:
                return False
            await subscription.requeue(batch)
        return True

    async def _let_go(
        self, batch: Sequence[Delivery], subscription: Subscription, publisher: Publisher
    ) -> bool:
        """Let go of what is held; return whether that could be done.

        The one message that is read alone is not given back, which would count as if its reader had died, but
        sent once more: that it was not handled shows that it has not killed us, and it begins anew.
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

    async def _sit_out(self, pause: float, subscription: Subscription, publisher: Publisher) -> float:
        """Wait until work may go on, at least for the pause; return the pause to make the next time."""
        metrics.pauses(self.topology.service).inc()
        pause = await self._wait(pause, subscription, publisher)
        log.info("reading_resumed", queue=self.queue)
        await subscription.resume()
        return pause

    async def _wait(self, pause: float, subscription: Subscription, publisher: Publisher) -> float:
        while not subscription.closed:
            await asyncio.sleep(jittered(pause))
            pause = backoff(pause, 1, LONGEST_PAUSE)
            try:
                await publisher.check()
                await self._available()
                break
            except Unavailable as why:
                log.info("still_away", queue=self.queue, reason=str(why))
        return pause

    async def _renew(
        self, batch: Sequence[Delivery], subscription: Subscription, publisher: Publisher
    ) -> list[Delivery]:
        """Send once more what has come so often that the broker would soon put it away; return the others."""
        worn = [
            one
            for one in batch
            if one.redeliveries >= REPUBLISH_AFTER and self._deaths(one) < QUARANTINE_AFTER
        ]
        await publisher.send([republished(delivery, self.topology) for delivery in worn])
        await subscription.ack(worn)
        for delivery in worn:
            self._excused.pop(_key(delivery), None)
        return [delivery for delivery in batch if delivery not in worn]

    async def _process(
        self, batch: Sequence[Delivery], subscription: Subscription, publisher: Publisher
    ) -> None:
        service, now = self.topology.service, self._clock()
        if any(delivery.redeliveries >= REPUBLISH_AFTER for delivery in batch):
            batch = await self._renew(batch, subscription, publisher)
        metrics.batch_messages(service).observe(len(batch))
        aside: list[Message] = []
        good: list[tuple[Delivery, Event]] = []
        for delivery in batch:
            try:
                if message := self._set_aside(delivery, now):
                    aside.append(message)
                else:
                    event = read(delivery, self.topology, now, check_publisher=self._check_sender)
                    good.append((delivery, event))
            except InvalidEvent as error:
                aside.append(self._bury(delivery, str(error), now))
            except Exception as error:
                # Reading is the same each time, and nobody else's message is to wait for it.
                log.exception("reading_failed", queue=self.queue, message_id=delivery.message_id)
                aside.append(self._bury(delivery, f"reading it failed: {type(error).__name__}", now))
        self._observe_age([event for _, event in good], now)
        verdicts = await self._verdicts([event for _, event in good])
        later = [
            (delivery, event, verdict.verdict)
            for (delivery, event), verdict in zip(good, verdicts, strict=True)
            if isinstance(verdict, Deferred)
        ]
        waiting = {delivery for delivery, _, _ in later}
        await self._settle(
            [
                (delivery, event, verdict)
                for (delivery, event), verdict in zip(good, verdicts, strict=True)
                if not isinstance(verdict, Deferred)
            ],
            aside,
            publisher,
        )
        await subscription.ack([delivery for delivery in batch if delivery not in waiting])
        for delivery, event, verdict in later:
            self._start(self._follow(delivery, event, verdict, subscription, publisher))

    def _excuse(self, deliveries: Iterable[Delivery]) -> None:
        """Remember that we have survived these, and will get them again."""
        for delivery in deliveries:
            key = _key(delivery)
            self._excused[key] = self._excused.pop(key, 0) + 1
        while len(self._excused) > EXCUSED_LIMIT:
            del self._excused[next(iter(self._excused))]

    def _set_aside(self, delivery: Delivery, now: datetime) -> Message | None:
        deaths = self._deaths(delivery)
        if self.quarantined and deaths >= POISON_AFTER:
            return self._bury(delivery, "its reader died each time it was read alone", now)
        if not self.quarantined and deaths >= QUARANTINE_AFTER:
            metrics.quarantined(self.topology.service).inc()
            return for_quarantine(delivery, self.topology, now)
        return None

    def _deaths(self, delivery: Delivery) -> int:
        """Return how many readers may have died of a message."""
        return max(0, delivery.redeliveries - self._excused.get(_key(delivery), 0))

    def _bury(self, delivery: Delivery, reason: str, now: datetime) -> Message:
        metrics.dead_letters(self.topology.service).inc()
        log.error("dead_lettered", queue=self.queue, reason=reason, message_id=delivery.message_id)
        return dead(delivery, self.topology, reason, now)

    async def _verdicts(self, events: Sequence[Event]) -> Sequence[Result]:
        if not events:
            return []
        try:
            return await self._handle(events)
        except Unavailable:
            raise
        except Exception as error:
            # A batch that cannot be handled together is handled one by one, so that only the event which
            # is to blame pays for it.
            if len(events) > 1:
                return [verdict for event in events for verdict in await self._verdicts([event])]
            log.exception(
                "handling_failed", event_id=events[0].event_id, correlation_id=events[0].correlation_id
            )
            return [Retry(f"{type(error).__name__}: {error}")]

    async def _settle(
        self,
        settled: Sequence[tuple[Delivery, Event, Handled | Retry]],
        aside: Sequence[Message],
        publisher: Publisher,
    ) -> None:
        service, now = self.topology.service, self._clock()
        publish: dict[str, Event] = {}
        copies = list(aside)
        for delivery, event, verdict in settled:
            if isinstance(verdict, Retry):
                copies.append(self._put_off(delivery, event, verdict.reason, now))
            else:
                publish.update({str(emitted.event_id): emitted for emitted in verdict.publish})
        await publisher.send([*(to_message(event) for event in publish.values()), *copies])
        for event in publish.values():
            metrics.published(service, event.type).inc()
        for _, event, verdict in settled:
            outcome = "put_off" if isinstance(verdict, Retry) else verdict.outcome
            metrics.events(service, event.type, outcome).inc()

    def _put_off(self, delivery: Delivery, event: Event, reason: str, now: datetime) -> Message:
        if delivery.attempts >= len(self.topology.delays):
            return self._bury(delivery, f"out of attempts: {reason}", now)
        metrics.retries(self.topology.service, event.type).inc()
        return delayed(delivery, self.topology, event, reason, now)

    async def _follow(
        self,
        delivery: Delivery,
        event: Event,
        verdict: Awaitable[Handled | Retry],
        subscription: Subscription,
        publisher: Publisher,
    ) -> None:
        try:
            settled = await verdict
        except Unavailable as why:
            log.warning("given_back", queue=self.queue, reason=str(why), correlation_id=event.correlation_id)
            await self._wait(FIRST_PAUSE, subscription, publisher)
            if not self.quarantined:
                self._excuse([delivery])
            while not await self._let_go([delivery], subscription, publisher) and not subscription.closed:
                await self._wait(FIRST_PAUSE, subscription, publisher)
            return
        except Exception as error:
            log.exception("handling_failed", event_id=event.event_id, correlation_id=event.correlation_id)
            settled = Retry(f"{type(error).__name__}: {error}")
        pause = FIRST_PAUSE
        while True:
            try:
                await self._settle([(delivery, event, settled)], [], publisher)
                await subscription.ack([delivery])
                return
            except Unavailable as why:
                if subscription.closed:
                    return
                log.warning("publishing_waits", queue=self.queue, reason=str(why))
                pause = await self._wait(pause, subscription, publisher)

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._later.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._later.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("settling_failed", queue=self.queue, error=repr(error))

    def _observe_age(self, events: Iterable[Event], now: datetime) -> None:
        ages = [(now - event.occurred_at).total_seconds() for event in events if event.occurred_at]
        if ages:
            metrics.queue_age(self.topology.service).set(max(0.0, *ages))


def _key(delivery: Delivery) -> str:
    return delivery.message_id or sha256(delivery.body).hexdigest()

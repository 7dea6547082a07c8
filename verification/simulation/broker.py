"""A broker in memory: the same exchanges, bindings and queues; at-least-once delivery in any order."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from saga.errors import Unavailable
from saga.messaging.message import Delivery, Message
from saga.messaging.poison import POISON_AFTER
from saga.messaging.topology import Arguments, Topology
from verification.simulation.adversary import Adversary, Process

PREFETCH = 200
LONGEST_UNNOTICED = 20.0
"""Seconds until a process notices at the latest that it is cut off: what heartbeats are for."""


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message in a queue."""

    message: Message
    redeliveries: int = 0


class Queue:
    """One queue and its consumers."""

    def __init__(self, name: str, arguments: Arguments) -> None:
        self.name = name
        self.waiting: deque[QueuedMessage] = deque()
        self.readers: list[MemorySubscription] = []
        self.in_transit = 0
        self.unacknowledged = 0
        ttl = arguments.get("x-message-ttl")
        self.pause = float(ttl) / 1000 if ttl is not None else None
        self.dead_letter_exchange = str(arguments.get("x-dead-letter-exchange", ""))
        self.limit = int(arguments.get("x-delivery-limit", 1_000_000_000))

    @property
    def busy(self) -> bool:
        """Whether a message waits, is in transit or is unacknowledged."""
        return bool(self.waiting or self.in_transit or self.unacknowledged)


class MemoryBroker:
    """The exchanges, queues and bindings that the services declare, and the messages."""

    def __init__(self, adversary: Adversary) -> None:
        self.adversary = adversary
        self.exchanges: dict[str, str] = {}
        self.queues: dict[str, Queue] = {}
        self.bindings: dict[str, list[tuple[str, str]]] = {}
        self.connections: list[Connection] = []
        self.published: list[Message] = []
        """Every event that the broker accepted."""

    def declare(self, topologies: Sequence[Topology]) -> None:
        """Declare the topologies of these services."""
        for topology in topologies:
            self.exchanges |= topology.exchanges
            self.queues |= {name: Queue(name, arguments) for name, arguments in topology.queues.items()}
        for topology in topologies:
            for queue, exchange, key in (*topology.own_bindings, *topology.event_bindings):
                self.bindings.setdefault(exchange, []).append((queue, key))

    def lose_everything(self, topologies: Sequence[Topology]) -> None:
        """Restart without connections and messages, with the topology that is loaded at the start."""
        for connection in list(self.connections):
            connection.cut("the broker lost everything")
        for things in (self.exchanges, self.queues, self.bindings):
            things.clear()
        self.declare(topologies)

    def queues_for(self, exchange: str, key: str) -> list[str]:
        """Return the names of the queues that a message is routed to."""
        kind = self.exchanges[exchange]
        return sorted(
            {queue for queue, pattern in self.bindings.get(exchange, ()) if _matches(kind, pattern, key)}
        )

    def publish(self, message: Message) -> bool:
        """Accept a message; return whether it is routed to any queue."""
        if self.exchanges[message.exchange] == "topic":
            self.published.append(message)
        return self._route(QueuedMessage(message))

    def connect(self, process: Process) -> "Connection":
        """Return a new connection."""
        return Connection(self, process)

    def nack(self, queue: Queue, stored: QueuedMessage) -> None:
        """Take back a message that a consumer rejects; it counts as redelivered or not."""
        if self.adversary.counts_requeues:
            self.requeue(queue, stored)
        else:
            self._send_on(queue, stored)

    def requeue(self, queue: Queue, stored: QueuedMessage) -> None:
        """Take back a message whose consumer was lost, or dead-letter it if that happens too often."""
        if stored.redeliveries >= queue.limit:
            self._dead_letter(queue, stored.message)
        else:
            self._send_on(queue, replace(stored, redeliveries=stored.redeliveries + 1))

    def dispatch(self, queue: Queue) -> None:
        """Deliver to consumers with room."""
        while queue.waiting:
            free = [subscription for subscription in queue.readers if subscription.has_room]
            if not free:
                return
            subscription = self.adversary.dice.choice(free) if len(free) > 1 else free[0]
            subscription.deliver(queue.waiting.popleft())

    def _route(self, stored: QueuedMessage) -> bool:
        taken = self.queues_for(stored.message.exchange, stored.message.routing_key)
        for name in taken:
            self._send_on(self.queues[name], stored)
            if self.adversary.strikes("duplicate"):
                self._send_on(self.queues[name], stored)
        return bool(taken)

    def _send_on(self, queue: Queue, stored: QueuedMessage) -> None:
        loop = asyncio.get_running_loop()
        queue.in_transit += 1
        if queue.pause is not None:
            loop.call_later(queue.pause, self._paused, queue, stored)
        elif delay := self.adversary.lateness():
            loop.call_later(delay, self._arrived, queue, stored)
        else:
            self._arrived(queue, stored)

    def _arrived(self, queue: Queue, stored: QueuedMessage) -> None:
        if self.queues.get(queue.name) is not queue:
            return
        queue.in_transit -= 1
        queue.waiting.append(stored)
        self.dispatch(queue)

    def _paused(self, queue: Queue, stored: QueuedMessage) -> None:
        if self.queues.get(queue.name) is not queue:
            return
        queue.in_transit -= 1
        self._dead_letter(queue, stored.message)

    def _dead_letter(self, queue: Queue, message: Message) -> None:
        self._route(QueuedMessage(replace(message, exchange=queue.dead_letter_exchange)))


class Connection:
    """The connection of one process: it publishes and consumes, and loses both together."""

    def __init__(self, broker: MemoryBroker, process: Process) -> None:
        self.broker = broker
        self.process = process
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.gone = False
        """Whether the broker has taken everything back; the process may not have noticed."""
        self._subscriptions: list[MemorySubscription] = []
        broker.connections.append(self)

    @property
    def closed(self) -> bool:
        return self.lost.done()

    def read(self, queue: str, prefetch: int = PREFETCH) -> "MemorySubscription":
        """Return a subscription to a queue."""
        subscription = MemorySubscription(self, self.broker.queues[queue], prefetch)
        self._subscriptions.append(subscription)
        return subscription

    def cut(self, why: str) -> None:
        """Lose the connection: unacknowledged messages are redelivered. The process may notice that later."""
        if self.gone:
            return
        self.gone = True
        self.broker.connections.remove(self)
        for subscription in self._subscriptions:
            subscription.lose()
        if not self.process.dead and self.broker.adversary.strikes("half open"):
            self.process.note(f"connection lost, unnoticed: {why}")
            self._loop.call_later(self.broker.adversary.dice.uniform(0, LONGEST_UNNOTICED), self._notice)
        else:
            self.process.note(f"connection lost: {why}")
            self._notice()

    def _notice(self) -> None:
        if not self.closed:
            self.lost.set_result(None)

    async def stop_reading(self) -> None:
        """Stop all deliveries for good."""
        for subscription in self._subscriptions:
            await subscription.close()

    async def send(self, messages: Sequence[Message]) -> None:
        """See `saga.messaging.publisher.Publisher`."""
        adversary, process = self.broker.adversary, self.process
        if not messages:
            return
        await process.reach("before publishing")
        self._check()
        if adversary.strikes("publish refused"):
            raise Unavailable("the broker refuses")
        if process.strikes("cut"):
            for message in adversary.share(messages):
                self._publish(message)
            self.cut("while publishing")
        self._check()
        lost = [message for message in messages if not self._publish(message) and message.mandatory]
        if lost:
            raise Unavailable("no queue for a mandatory message")
        await process.reach("between publishing and the confirm")
        if adversary.strikes("confirm lost"):
            process.note("confirm lost")
            raise Unavailable("the broker did not confirm")
        self._check()

    async def check(self) -> None:
        """See `saga.messaging.publisher.Publisher`."""
        await self.process.live()
        self._check()

    def _publish(self, message: Message) -> bool:
        if self.broker.adversary.trace.on:
            self.process.note(f"-> {message.exchange} {message.routing_key} {(message.message_id or '')[:8]}")
        return self.broker.publish(message)

    def _check(self) -> None:
        if self.gone:
            raise Unavailable("not connected to the broker")


class MemorySubscription:
    """See `saga.messaging.subscription.Subscription`."""

    def __init__(self, connection: Connection, queue: Queue, prefetch: int) -> None:
        self._connection = connection
        self._process = connection.process
        self._broker = connection.broker
        self._queue = queue
        self._prefetch = prefetch
        self._arrived: deque[Delivery] = deque()
        self.unsettled: dict[int, QueuedMessage] = {}
        self._held: dict[int, Delivery] = {}
        self._last_tag = 0
        self._closing = False
        self._wake = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self._closing or self._connection.closed

    @property
    def unacknowledged(self) -> Sequence[Delivery]:
        return list(self._held.values())

    @property
    def has_room(self) -> bool:
        """The broker may deliver one more."""
        return len(self.unsettled) < self._prefetch

    async def take(self, limit: int) -> list[Delivery]:
        while not self._arrived:
            if self._closing:
                return []
            self._wake.clear()
            await self._wake.wait()
        await self._process.reach("taking deliveries")
        count = min(limit, len(self._arrived))
        if count > 1 and self._broker.adversary.strikes("split"):
            count = self._broker.adversary.dice.randint(1, count)
        taken = [self._arrived.popleft() for _ in range(count)]
        if self._broker.adversary.trace.on:
            names = [f"{one.routing_key.split('.')[0]}({one.redeliveries})" for one in taken]
            self._process.note(f"takes {' '.join(names)}")
        return taken

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        await self._process.reach("before the ack")
        if self._process.strikes("cut"):
            self._connection.cut("before the ack")
        for delivery in deliveries:
            self._settle(delivery)
        self._broker.dispatch(self._queue)

    async def requeue(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if stored := self._settle(delivery):
                self._broker.nack(self._queue, stored)

    async def pause(self) -> None:
        if self in self._queue.readers:
            self._queue.readers.remove(self)
        untaken = list(self._arrived)
        self._arrived.clear()
        await self.requeue(untaken)

    async def resume(self) -> None:
        await self._process.reach("resuming")
        if not self._closing and not self._connection.gone and self not in self._queue.readers:
            self._queue.readers.append(self)
            self._broker.dispatch(self._queue)

    async def close(self) -> None:
        """Stop deliveries for good."""
        self._closing = True
        await self.pause()
        self._wake.set()

    def deliver(self, stored: QueuedMessage) -> None:
        """Take one delivery from the broker."""
        self._last_tag += 1
        message = stored.message
        self.unsettled[self._last_tag] = stored
        self._queue.unacknowledged += 1
        self._process.poison_candidates += self._is_poison_candidate(stored)
        delivery = self._held[self._last_tag] = Delivery(
            tag=self._last_tag,
            exchange=message.exchange,
            routing_key=message.routing_key,
            body=message.body,
            message_id=message.message_id,
            correlation_id=message.correlation_id,
            type=message.type,
            app_id=message.app_id,
            timestamp=message.timestamp,
            headers=dict(message.headers),
            redeliveries=stored.redeliveries,
        )
        self._arrived.append(delivery)
        self._wake.set()

    def lose(self) -> None:
        """Lose the connection: the broker takes back every unsettled message."""
        if self in self._queue.readers:
            self._queue.readers.remove(self)
        self._arrived.clear()
        unsettled, self.unsettled = self.unsettled, {}
        self._queue.unacknowledged -= len(unsettled)
        self._process.poison_candidates -= sum(map(self._is_poison_candidate, unsettled.values()))
        for stored in unsettled.values():
            self._broker.requeue(self._queue, stored)

    def _settle(self, delivery: Delivery) -> QueuedMessage | None:
        stored = self.unsettled.pop(delivery.tag, None)
        self._held.pop(delivery.tag, None)
        if stored is not None:
            self._queue.unacknowledged -= 1
            self._process.poison_candidates -= self._is_poison_candidate(stored)
        return stored

    def _is_poison_candidate(self, stored: QueuedMessage) -> bool:
        return self._queue.name.endswith(".quarantine") and stored.redeliveries >= POISON_AFTER - 1


def _matches(kind: str, pattern: str, key: str) -> bool:
    if kind == "fanout":
        return True
    if kind == "direct":
        return pattern == key
    if not pattern.endswith(".#"):
        raise ValueError(f"no service binds like this: {pattern}")
    return key == pattern[:-2] or key.startswith(pattern[:-1])

"""A simulated payment provider, for development, demonstrations and tests.

Its answers depend on its settings and the request alone, so that one key always gets the same answer, as with
real providers. `payment_service.providers.directives` lists how an order or a setting chooses the answer.

It logs the key of each charge and refund it makes: these lines are its only books.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256

import structlog

from payment_service.providers.base import (
    Action,
    Answer,
    Approved,
    Charge,
    ChargeAnswer,
    Declined,
    Notification,
    Pending,
    ProviderDown,
    Refund,
    RefundAnswer,
    Refunded,
    RefundRefused,
)
from payment_service.providers.directives import Behaviour, Directives, parse_directives
from saga.errors import Unavailable

log = structlog.get_logger()

Subscriber = Callable[[Notification], Awaitable[None]]


class SimulatedProvider:
    """See the module, and `payment_service.providers.base.Provider`.

    `time` is in seconds and the same for all replicas: the reference to a pending charge or refund says when
    it is decided.
    """

    def __init__(self, behaviour: Behaviour, time: Callable[[], float]) -> None:
        self._behaviour = behaviour
        self._time = time
        self._first_call: dict[str, float] = {}
        self._calls: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._down_until = 0.0
        self._subscriber: Subscriber | None = None
        self._notifications: set[asyncio.Task[None]] = set()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have notifications sent to this subscriber, the only one."""
        self._subscriber = subscriber

    async def check(self) -> None:
        """See `Provider`."""
        if self._time() < self._down_until:
            raise ProviderDown("the simulated provider has an outage")

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """See `Provider`."""
        directives = self._behaviour.directives(charge)
        await self._inject_faults(charge.key, directives)
        if "decline" in directives or self._behaviour.declines(charge):
            return Declined("declined")
        for directive, end in (("pending", "paid"), ("expire", "expired")):
            if directive in directives:
                return self._pending(charge.key, end, directives[directive], _notification_count(directives))
        if "notify-twice" in directives:
            self._schedule_notification(Notification(charge.key, _charge_id(charge.key)), 0)
        return _charged(charge.key)

    async def refund(self, refund: Refund) -> RefundAnswer:
        """See `Provider`."""
        await self.check()
        directives = parse_directives(refund.payment_method)
        attempt = int(refund.key.rpartition("-")[2])
        end = "refused" if attempt <= directives.get("refuse-refund", 0) else "refunded"
        if "pending-refund" in directives:
            seconds = directives["pending-refund"]
            return self._pending(refund.key, end, seconds, _notification_count(directives))
        return RefundRefused("refused") if end == "refused" else _refunded(refund.key)

    async def fetch(self, request: Charge | Refund, reference: str) -> Answer:
        """See `Provider`."""
        await self.check()
        if not reference.startswith("pending-"):
            return Approved(reference) if isinstance(request, Charge) else Refunded(reference)
        _, end, due = reference.split("-")
        if self._time() < int(due) / 1000:
            return Pending(reference, _actions(reference))
        ends: dict[str, Callable[[], Answer]] = {
            "paid": lambda: _charged(request.key),
            "expired": lambda: Declined("expired"),
            "refunded": lambda: _refunded(request.key),
            "refused": lambda: RefundRefused("refused"),
        }
        return ends[end]()

    async def cancel(self, charge: Charge, reference: str) -> ChargeAnswer:
        """See `Provider`."""
        answer = await self.fetch(charge, reference)
        return answer if isinstance(answer, Approved | Declined) else Declined("cancelled")

    async def _inject_faults(self, key: str, directives: Directives) -> None:
        started = self._first_call.setdefault(key, self._time())
        self._calls[key] += 1
        self._down_until = max(self._down_until, started + directives.get("outage", 0))
        await self.check()
        if self._calls[key] <= directives.get("timeout", 0):
            await asyncio.Event().wait()
        delay = directives.get("delay", self._behaviour.delay)
        await asyncio.sleep(max(0.0, started + delay - self._time()))

    def _pending(self, key: str, end: str, seconds: float, notifications: int) -> Pending:
        due = self._first_call.setdefault(key, self._time()) + seconds
        reference = f"pending-{end}-{round(due * 1000)}"
        while self._sent[key] < notifications:
            self._sent[key] += 1
            self._schedule_notification(
                Notification(key, reference), max(0.0, due - self._time()) + self._sent[key] - 1
            )
        return Pending(reference, _actions(reference))

    def _schedule_notification(self, notification: Notification, after: float) -> None:
        if self._subscriber is not None:
            task = asyncio.create_task(self._notify(self._subscriber, notification, after))
            self._notifications.add(task)
            task.add_done_callback(self._notifications.discard)

    async def _notify(self, subscriber: Subscriber, notification: Notification, after: float) -> None:
        await asyncio.sleep(after)
        with suppress(Unavailable):  # the service asks by itself later
            await subscriber(notification)


def _notification_count(directives: Directives) -> int:
    """Return how many notifications are sent of the decision on a pending charge or refund."""
    return 0 if "no-notification" in directives else 2 if "notify-twice" in directives else 1


def _actions(reference: str) -> tuple[Action, ...]:
    url = f"https://simulated.invalid/pay/{reference}"
    return (Action(kind="redirect", name="web_url", value=url),) if "-re" not in reference else ()


def _charged(key: str) -> Approved:
    log.info("simulated_charge", key=key)
    return Approved(_charge_id(key))


def _refunded(key: str) -> Refunded:
    log.info("simulated_refund", key=key)
    return Refunded(_refund_id(key))


def _charge_id(key: str) -> str:
    return f"ch-{_digest(key)[:24]}"


def _refund_id(key: str) -> str:
    return f"re-{_digest(key)[:24]}"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()

"""A payment provider that only pretends, for development, demonstrations and tests.

Its answers depend on nothing but its settings and the request, so that it gives the same answer to the same
key for ever, as real providers do. An order chooses by its `paymentMethod`:

    sim:approve             approves at once, as without a payment method
    sim:decline             declines
    sim:delay:SECONDS       approves so long after the first call for this key
    sim:timeout:N           leaves the first N calls for this key without an answer, then approves
    sim:outage:SECONDS      is down for everybody for so long from the first call for this key, then approves
    sim:pending:SECONDS     is pending for so long, with something for the customer to do, then approved
    sim:expire:SECONDS      is pending for so long, then expired
    sim:unheard             gives no notice of what becomes of something pending: one has to ask
    sim:twice               gives notice of what it has answered already; of what is pending, once
                            more a second later
    sim:refuse-refund:N     approves, and refuses the first N attempts to refund
    sim:pending-refund:SECONDS  approves, and a refund is pending for so long

Several may be combined: `sim:delay:2:refuse-refund:1`. A charge without such a method is treated by the first
of the settings' rules that fits it, by its amount, its order, or a share of all:

    above:AMOUNT=WISH   order:PATTERN=WISH   rate:SHARE=WISH      such as   rate:0.1=timeout:1

Whenever it moves money it logs the key: these lines are all the books it keeps.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
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
from saga.errors import Unavailable

log = structlog.get_logger()

LONGEST_WAIT = 24 * 3600.0
DIRECTIVES = {
    *("approve", "decline", "delay", "timeout", "outage", "pending", "expire", "unheard", "twice"),
    *("refuse-refund", "pending-refund"),
}


@dataclass(frozen=True, slots=True)
class ChargeRule:
    """What is done with which charges: `condition` is `above`, `order` or `rate`, `value` the rest."""

    condition: str
    value: str
    directives: str

    def fits(self, charge: Charge, seed: int) -> bool:
        """Tell whether a charge is treated so."""
        if self.condition == "above":
            return charge.amount > Decimal(self.value)
        if self.condition == "order":
            return fnmatchcase(charge.key.removeprefix("order-"), self.value)
        return _draw(seed, charge.key) < float(self.value)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the provider does where the order does not say: `delay` in seconds; the first rule that fits; then
    the `decline_rate` from 0 to 1, and what is above `decline_above`, are declined."""

    delay: float = 0.0
    decline_rate: float = 0.0
    decline_above: Decimal | None = None
    seed: int = 0
    rules: tuple[ChargeRule, ...] = ()


Subscriber = Callable[[Notification], Awaitable[None]]


class SimulatedProvider:
    """See the module, and `payment_service.providers.base.Provider`.

    `time` is in seconds and the same for all replicas: when something pending is decided is part of its
    reference.
    """

    def __init__(self, behaviour: Behaviour, time: Callable[[], float]) -> None:
        self._behaviour = behaviour
        self._time = time
        self._first_call: dict[str, float] = {}
        self._calls: Counter[str] = Counter()
        self._given: Counter[str] = Counter()
        self._down_until = 0.0
        self._subscriber: Subscriber | None = None
        self._notifications: set[asyncio.Task[None]] = set()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have notice given to somebody."""
        self._subscriber = subscriber

    async def check(self) -> None:
        """See `Provider`."""
        if self._time() < self._down_until:
            raise ProviderDown("the simulated provider has an outage")

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """See `Provider`."""
        directives = self._directives(charge)
        await self._inject_faults(charge.key, directives)
        if "decline" in directives or self._declines(charge):
            return Declined("declined")
        for wish, end in (("pending", "paid"), ("expire", "expired")):
            if wish in directives:
                return self._pending(charge.key, end, directives[wish], _notification_count(directives))
        if "twice" in directives:
            self._schedule_notification(Notification(charge.key, _charge_id(charge.key)), 0)
        return _charged(charge.key)

    async def refund(self, refund: Refund) -> RefundAnswer:
        """See `Provider`."""
        await self.check()
        directives = _words(refund.payment_method)
        attempt = int(refund.key.rpartition("-")[2])
        end = "refused" if attempt <= directives.get("refuse-refund", 0) else "refunded"
        if "pending-refund" in directives:
            seconds = directives["pending-refund"]
            return self._pending(refund.key, end, seconds, _notification_count(directives))
        return RefundRefused("refused") if end == "refused" else _refunded(refund.key)

    async def fetch(self, asked: Charge | Refund, reference: str) -> Answer:
        """See `Provider`."""
        await self.check()
        if not reference.startswith("pending-"):
            return Approved(reference) if isinstance(asked, Charge) else Refunded(reference)
        _, end, due = reference.split("-")
        if self._time() < int(due) / 1000:
            return Pending(reference, _actions(reference))
        ends: dict[str, Callable[[], Answer]] = {
            "paid": lambda: _charged(asked.key),
            "expired": lambda: Declined("expired"),
            "refunded": lambda: _refunded(asked.key),
            "refused": lambda: RefundRefused("refused"),
        }
        return ends[end]()

    async def cancel(self, charge: Charge, reference: str) -> ChargeAnswer:
        """See `Provider`."""
        answer = await self.fetch(charge, reference)
        return answer if isinstance(answer, Approved | Declined) else Declined("cancelled")

    async def _inject_faults(self, key: str, directives: dict[str, float]) -> None:
        started = self._first_call.setdefault(key, self._time())
        self._calls[key] += 1
        self._down_until = max(self._down_until, started + directives.get("outage", 0))
        await self.check()
        if self._calls[key] <= directives.get("timeout", 0):
            await asyncio.Event().wait()
        delay = directives.get("delay", self._behaviour.delay)
        await asyncio.sleep(max(0.0, started + delay - self._time()))

    def _directives(self, charge: Charge) -> dict[str, float]:
        directives = _words(charge.payment_method)
        for rule in self._behaviour.rules if not directives else ():
            if rule.fits(charge, self._behaviour.seed):
                return _words(f"sim:{rule.directives}")
        return directives

    def _declines(self, charge: Charge) -> bool:
        above = self._behaviour.decline_above
        if above is not None and charge.amount > above:
            return True
        return _draw(self._behaviour.seed, charge.key) < self._behaviour.decline_rate

    def _pending(self, key: str, end: str, seconds: float, notices: int) -> Pending:
        due = self._first_call.setdefault(key, self._time()) + seconds
        reference = f"pending-{end}-{round(due * 1000)}"
        while self._given[key] < notices:
            self._given[key] += 1
            self._schedule_notification(
                Notification(key, reference), max(0.0, due - self._time()) + self._given[key] - 1
            )
        return Pending(reference, _actions(reference))

    def _schedule_notification(self, notification: Notification, after: float) -> None:
        if self._subscriber is not None:
            task = asyncio.create_task(self._tell(self._subscriber, notification, after))
            self._notifications.add(task)
            task.add_done_callback(self._notifications.discard)

    async def _tell(self, subscriber: Subscriber, notification: Notification, after: float) -> None:
        await asyncio.sleep(after)
        with suppress(Unavailable):  # who does not hear of it asks
            await subscriber(notification)


def parse_rule(text: str) -> ChargeRule:
    """Read a rule from `CONDITION:VALUE=WISH`.

    Raises:
        ValueError: it is not of that form; the value is not shown.
    """
    left, _, directives = text.partition("=")
    condition, _, value = left.partition(":")
    words = _words(f"sim:{directives}")
    if not words or words.keys() - DIRECTIVES or not _may_be_compared_with(condition, value):
        raise ValueError("a rule is CONDITION:VALUE=WISH, such as rate:0.1=timeout:1")
    return ChargeRule(condition, value, directives)


def _may_be_compared_with(condition: str, value: str) -> bool:
    if condition == "order":
        return bool(value)
    try:
        number = Decimal(value)
    except InvalidOperation:
        return False
    return number.is_finite() and (condition == "above" or (condition == "rate" and 0 <= number <= 1))


def _words(reference: str | None) -> dict[str, float]:
    """Return the words of a simulated payment method, each with its number, 0 if it has none.

    Any other reference means nothing here, and is approved.
    """
    first, *parts = (reference or "").split(":")
    directives: dict[str, float] = {}
    word = ""
    for part in parts if first == "sim" else []:
        try:
            number = float(part)
        except ValueError:
            word = part
            directives[word] = 0.0
        else:
            directives[word] = min(max(0.0, number), LONGEST_WAIT)
    return directives


def _notification_count(directives: dict[str, float]) -> int:
    """Return how often notice is given of what becomes of something pending."""
    return 0 if "unheard" in directives else 2 if "twice" in directives else 1


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


def _draw(seed: int, key: str) -> float:
    """Return a number from 0 to 1 that this seed always draws for this key."""
    return int(_digest(f"{seed}/{key}")[:8], 16) / 0xFFFFFFFF


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()

"""A payment provider that only pretends, for development, demonstrations and tests.

Its answers depend on nothing but its settings and the request, so that it gives the same answer to the same
key for ever, as real providers do. An order chooses by its `paymentMethod`:

    sim:approve            approves at once, as without a payment method
    sim:decline            declines
    sim:delay:SECONDS      approves so long after the first call for this key
    sim:timeout:N          leaves the first N calls for this key without an answer, then approves
    sim:outage:SECONDS     is down for everybody for so long from the first call for this key, then approves
    sim:refuse-refund:N    approves, and refuses the first N attempts to refund

Several may be combined: `sim:delay:2:refuse-refund:1`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256

from payment_service.provider import (
    Approved,
    Charge,
    ChargeAnswer,
    Declined,
    ProviderDown,
    Refund,
    RefundAnswer,
    Refunded,
    RefundRefused,
)

LONGEST_WAIT = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the provider does where the order does not say: `delay` in seconds, `decline_rate` from 0 to 1."""

    delay: float = 0.0
    decline_rate: float = 0.0
    decline_above: Decimal | None = None
    seed: int = 0


class SimulatedProvider:
    """See the module, and `payment_service.provider.Provider`."""

    def __init__(self, behaviour: Behaviour, time: Callable[[], float]) -> None:
        self._behaviour = behaviour
        self._time = time
        self._first_call: dict[str, float] = {}
        self._calls: Counter[str] = Counter()
        self._down_until = 0.0

    async def check(self) -> None:
        """See `Provider`."""
        if self._time() < self._down_until:
            raise ProviderDown("the simulated provider has an outage")

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """See `Provider`."""
        wishes = _wishes(charge.payment_method)
        await self._misbehave(charge.key, wishes)
        if "decline" in wishes or self._declines(charge):
            return Declined("declined")
        return Approved(f"ch-{_digest(charge.key)[:24]}")

    async def refund(self, refund: Refund) -> RefundAnswer:
        """See `Provider`."""
        await self.check()
        attempt = int(refund.key.rpartition("-")[2])
        if attempt <= _wishes(refund.payment_method).get("refuse-refund", 0):
            return RefundRefused("refused")
        return Refunded(f"re-{_digest(refund.key)[:24]}")

    async def _misbehave(self, key: str, wishes: dict[str, float]) -> None:
        started = self._first_call.setdefault(key, self._time())
        self._calls[key] += 1
        self._down_until = max(self._down_until, started + wishes.get("outage", 0))
        await self.check()
        if self._calls[key] <= wishes.get("timeout", 0):
            await asyncio.Event().wait()
        delay = wishes.get("delay", self._behaviour.delay)
        await asyncio.sleep(max(0.0, started + delay - self._time()))

    def _declines(self, charge: Charge) -> bool:
        above = self._behaviour.decline_above
        if above is not None and charge.amount > above:
            return True
        draw = int(_digest(f"{self._behaviour.seed}/{charge.key}")[:8], 16) / 0xFFFFFFFF
        return draw < self._behaviour.decline_rate


def _wishes(reference: str | None) -> dict[str, float]:
    """Return the words of a simulated payment method, each with its number, 0 if it has none.

    Any other reference means nothing here, and is approved.
    """
    first, *parts = (reference or "").split(":")
    wishes: dict[str, float] = {}
    word = ""
    for part in parts if first == "sim" else []:
        try:
            number = float(part)
        except ValueError:
            word = part
            wishes[word] = 0.0
        else:
            wishes[word] = min(max(number, 0.0), LONGEST_WAIT)
    return wishes


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()

"""A payment provider that only pretends, for development, demonstrations and tests.

Its answers depend on nothing but its settings and the request, so that it gives the same answer to the same
key for ever, as real providers do. An order chooses by its `paymentMethod`:

    sim:approve            approves at once, as without a payment method
    sim:decline            declines
    sim:delay:SECONDS      approves so long after the first call for this key
    sim:timeout:N          leaves the first N calls for this key without an answer, then approves
    sim:outage:SECONDS     is down for everybody for so long from the first call for this key, then approves
    sim:refuse-refund:N    approves, and refuses the first N attempts to refund
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
        word, number = _method(charge.payment_method)
        await self._misbehave(charge.key, word, number)
        if word == "decline" or self._declines(charge):
            return Declined("declined")
        return Approved(f"ch-{_digest(charge.key)[:24]}")

    async def refund(self, refund: Refund) -> RefundAnswer:
        """See `Provider`."""
        await self.check()
        word, number = _method(refund.payment_method)
        attempt = int(refund.key.rpartition("-")[2])
        if word == "refuse-refund" and attempt <= number:
            return RefundRefused("refused")
        return Refunded(f"re-{_digest(refund.key)[:24]}")

    async def _misbehave(self, key: str, word: str, number: float) -> None:
        started = self._first_call.setdefault(key, self._time())
        self._calls[key] += 1
        if word == "outage":
            self._down_until = max(self._down_until, started + number)
        await self.check()
        if word == "timeout" and self._calls[key] <= number:
            await asyncio.Event().wait()
        delay = number if word == "delay" else self._behaviour.delay
        await asyncio.sleep(max(0.0, started + delay - self._time()))

    def _declines(self, charge: Charge) -> bool:
        above = self._behaviour.decline_above
        if above is not None and charge.amount > above:
            return True
        draw = int(_digest(f"{self._behaviour.seed}/{charge.key}")[:8], 16) / 0xFFFFFFFF
        return draw < self._behaviour.decline_rate


def _method(reference: str | None) -> tuple[str, float]:
    """Return the word and the number of a simulated payment method; any other reference just approves."""
    parts = (reference or "").split(":")
    if parts[0] != "sim" or len(parts) < 2:
        return "approve", 0.0
    try:
        number = float(parts[2]) if len(parts) > 2 else 0.0
    except ValueError:
        number = 0.0
    return parts[1], min(max(number, 0.0), LONGEST_WAIT)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()

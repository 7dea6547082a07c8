"""A payment provider that does what providers do at their worst, and keeps books of its own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

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
from simulation.adversary import Adversary, Process

SILENCE = 60.0


@dataclass
class Ledger:
    """What the provider has decided, once for each key; this is the truth about the money."""

    adversary: Adversary
    now: Callable[[], float]
    regret: Callable[[Charge], None]
    """Called when it declines a charge that it will approve after all."""

    def __post_init__(self) -> None:
        self.charges: dict[str, tuple[Charge, ChargeAnswer]] = {}
        self.refunds: dict[str, tuple[Refund, RefundAnswer]] = {}
        self.broken: list[str] = []
        """What was asked of the provider that must never be."""
        self.approved_late: set[str] = set()
        """The keys of the charges that were declined at first."""
        self.down_until = 0.0

    def charge(self, charge: Charge) -> ChargeAnswer:
        """Decide, or say again what was decided."""
        known = self.charges.get(charge.key)
        if known is None:
            late = self.adversary.strikes("late approval")
            declined = late or self.adversary.strikes("decline")
            answer = Declined("declined") if declined else Approved(f"ch-{len(self.charges)}")
            if late:
                self.regret(charge)
            known = self.charges[charge.key] = (charge, answer)
        if known[0] != charge:
            self.broken.append(f"one key for two charges: {known[0]} and {charge}")
        return known[1]

    def approve(self, charge: Charge) -> ChargeAnswer:
        """Approve what was declined."""
        answer = Approved(f"late-{charge.key}")
        self.charges[charge.key] = (charge, answer)
        self.approved_late.add(charge.key)
        return answer

    def refund(self, refund: Refund) -> RefundAnswer:
        """Decide, or say again what was decided."""
        known = self.refunds.get(refund.key)
        if known is None:
            refused = self.adversary.strikes("refuse refund")
            answer = RefundRefused("refused") if refused else Refunded(f"re-{len(self.refunds)}")
            known = self.refunds[refund.key] = (refund, answer)
        if known[0] != refund:
            self.broken.append(f"one key for two refunds: {known[0]} and {refund}")
        return known[1]

    def charged(self, order_id: str) -> list[Charge]:
        """Return the charges made for an order."""
        return [
            charge
            for key, (charge, answer) in self.charges.items()
            if isinstance(answer, Approved) and key == f"order-{order_id}"
        ]

    def refunded(self, order_id: str) -> Decimal:
        """Return what an order's customer got back."""
        return sum(
            (
                refund.amount
                for key, (refund, answer) in self.refunds.items()
                if isinstance(answer, Refunded) and key.startswith(f"refund-{order_id}-")
            ),
            Decimal(0),
        )


class ProviderDoor:
    """The provider as one process reaches it (a `payment_service.provider.Provider`)."""

    def __init__(self, ledger: Ledger, process: Process) -> None:
        self._ledger = ledger
        self._process = process

    async def charge(self, charge: Charge) -> ChargeAnswer:
        """See `Provider`."""
        await self._before(charge.key)
        answer = self._ledger.charge(charge)
        await self._after(f"{charge.key}: {answer}")
        return answer

    async def refund(self, refund: Refund) -> RefundAnswer:
        """See `Provider`."""
        await self._before(refund.key)
        answer = self._ledger.refund(refund)
        await self._after(f"{refund.key}: {answer}")
        return answer

    async def check(self) -> None:
        """See `Provider`."""
        adversary = self._process.adversary
        await self._process.live()
        if adversary.strikes("outage"):
            self._ledger.down_until = self._ledger.now() + adversary.dice.uniform(0.5, 20)
        if not adversary.calm and self._ledger.now() < self._ledger.down_until:
            raise ProviderDown("outage")

    async def _before(self, key: str) -> None:
        await self._process.reach(f"before asking the provider for {key}")
        await self.check()
        if self._process.adversary.strikes("provider down"):
            raise ProviderDown("cut off")
        if self._process.adversary.strikes("provider silent"):
            await asyncio.sleep(SILENCE)

    async def _after(self, what: str) -> None:
        self._process.note(f"provider decides {what}")
        await self._process.reach("before the provider's answer")
        if self._process.adversary.strikes("provider in doubt"):
            if self._process.adversary.dice.random() < 0.5:
                raise ProviderDown("cut off after it has decided")
            await asyncio.sleep(SILENCE)

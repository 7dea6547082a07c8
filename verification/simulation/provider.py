"""A payment provider at its worst, with a ledger of its own."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from payment_service.providers.base import (
    Answer,
    Approved,
    Charge,
    ChargeAnswer,
    Declined,
    Pending,
    ProviderDown,
    Refund,
    RefundAnswer,
    Refunded,
    RefundRefused,
)
from verification.simulation.adversary import Adversary, Process

SILENCE = 60.0


@dataclass
class Ledger:
    """What the provider has decided, once for each key: the truth about the money."""

    adversary: Adversary
    now: Callable[[], float]
    on_late_approval: Callable[[Charge], None]
    """Called when it declines a charge that it will approve later."""
    on_pending: Callable[[Charge | Refund, str], None]
    """Called with its reference when it will decide later."""

    def __post_init__(self) -> None:
        self.charges: dict[str, tuple[Charge, ChargeAnswer]] = {}
        self.refunds: dict[str, tuple[Refund, RefundAnswer]] = {}
        self.broken: list[str] = []
        """Requests that the provider must never get."""
        self.approved_late: set[str] = set()
        """The keys of the charges that were declined at first."""
        self.first_answers: dict[str, Pending] = {}
        """The first answers to requests that were decided later."""
        self.down_until = 0.0

    def charge(self, charge: Charge) -> ChargeAnswer:
        """Decide, or repeat the decision or the first answer."""
        known = self.charges.get(charge.key)
        if known is None:
            late = self.adversary.strikes("late approval")
            declined = late or self.adversary.strikes("decline")
            answer: ChargeAnswer = Declined("declined") if declined else Approved(f"ch-{len(self.charges)}")
            if late:
                self.on_late_approval(charge)
            elif self.adversary.strikes("pending"):
                answer = self._later(charge)
            known = self.charges[charge.key] = (charge, answer)
        if known[0] != charge:
            self.broken.append(f"one key for two charges: {known[0]} and {charge}")
        return self._perhaps_stale(charge.key) or known[1]

    def approve(self, charge: Charge) -> ChargeAnswer:
        """Approve what was declined."""
        answer = Approved(f"late-{charge.key}")
        self.charges[charge.key] = (charge, answer)
        self.approved_late.add(charge.key)
        return answer

    def refund(self, refund: Refund) -> RefundAnswer:
        """Decide, or repeat the decision or the first answer."""
        known = self.refunds.get(refund.key)
        if known is None:
            answer: RefundAnswer
            if self.adversary.strikes("pending refund"):
                answer = self._later(refund)
            else:
                answer = self._decided_refund(f"re-{len(self.refunds)}")
            known = self.refunds[refund.key] = (refund, answer)
        if known[0] != refund:
            self.broken.append(f"one key for two refunds: {known[0]} and {refund}")
        return self._perhaps_stale(refund.key) or known[1]

    def decide(self, request: Charge | Refund, reference: str) -> Answer:
        """Decide on a pending request unless that has happened; return the decision."""
        if isinstance(request, Charge):
            if isinstance(self.charges[request.key][1], Pending):
                declined = self.adversary.strikes("decline")
                decision: ChargeAnswer = Declined("expired") if declined else Approved(reference)
                self.charges[request.key] = (request, decision)
        elif isinstance(self.refunds[request.key][1], Pending):
            self.refunds[request.key] = (request, self._decided_refund(reference))
        return self.state(request, reference)

    def state(self, request: Charge | Refund, reference: str) -> Answer:
        """Return the decision on the request with this reference."""
        book: Mapping[str, tuple[Charge | Refund, Answer]]
        book = self.charges if isinstance(request, Charge) else self.refunds
        known, answer = book[request.key]
        if known != request:
            self.broken.append(f"asked for {reference} as {request}, which is {known}")
        return answer

    def cancel(self, charge: Charge, reference: str) -> ChargeAnswer:
        """Decline a pending charge, unless it is too late."""
        if isinstance(self.charges[charge.key][1], Pending):
            if self.adversary.dice.random() < 0.2:
                self.decide(charge, reference)
            else:
                self.charges[charge.key] = (charge, Declined("cancelled"))
        return self.charges[charge.key][1]

    def _later(self, request: Charge | Refund) -> Pending:
        answer = self.first_answers[request.key] = Pending(f"later-{request.key}")
        self.on_pending(request, answer.reference)
        return answer

    def _perhaps_stale(self, key: str) -> Pending | None:
        """Return the first answer: a provider that stores answers by their key may repeat it at any time."""
        first = self.first_answers.get(key)
        return first if first and self.adversary.dice.random() < 0.5 else None

    def _decided_refund(self, refund_id: str) -> RefundAnswer:
        return RefundRefused("refused") if self.adversary.strikes("refuse refund") else Refunded(refund_id)

    def charged(self, order_id: str) -> Decimal:
        """Return what an order's customer has paid, under the one key for it."""
        charge, answer = self.charges.get(f"order-{order_id}", (None, None))
        return charge.amount if charge and isinstance(answer, Approved) else Decimal(0)

    def refunded(self, order_id: str) -> Decimal:
        """Return what was refunded to an order's customer."""
        return sum(
            (
                refund.amount
                for key, (refund, answer) in self.refunds.items()
                if isinstance(answer, Refunded) and key.startswith(f"refund-{order_id}-")
            ),
            Decimal(0),
        )


class LedgerProvider:
    """The provider as one process calls it (a `payment_service.providers.base.Provider`)."""

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

    async def fetch(self, request: Charge | Refund, reference: str) -> Answer:
        """See `Provider`."""
        await self._before(request.key)
        answer = self._ledger.state(request, reference)
        await self._after(f"{request.key}: {answer}")
        return answer

    async def cancel(self, charge: Charge, reference: str) -> ChargeAnswer:
        """See `Provider`."""
        await self._before(charge.key)
        answer = self._ledger.cancel(charge, reference)
        await self._after(f"{charge.key}: {answer}")
        return answer

    async def check(self) -> None:
        """See `Provider`."""
        adversary = self._process.adversary
        await self._process.live()
        if adversary.strikes("outage"):
            self._ledger.down_until = self._ledger.now() + adversary.dice.uniform(0.5, 20)
        if not adversary.quiescing and self._ledger.now() < self._ledger.down_until:
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

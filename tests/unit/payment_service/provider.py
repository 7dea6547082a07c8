"""The simulated provider under test, its clock and its requests."""

import asyncio
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any

from payment_service.providers.base import Charge, Refund
from payment_service.providers.directives import Behaviour
from payment_service.providers.simulated import SimulatedProvider
from tests.support.clock import Clock


def provider(clock: Clock, **behaviour: Any) -> SimulatedProvider:
    return SimulatedProvider(Behaviour(**behaviour), clock.seconds)


def charge(method: str | None = None, key: str = "order-o-1", amount: str = "25.00") -> Charge:
    return Charge(key, Decimal(amount), "USD", method)


def refund(method: str | None = None, attempt: int = 1) -> Refund:
    return Refund(f"refund-o-1-{attempt}", "ch-1", Decimal("25.00"), "USD", method)


async def silent(call: Coroutine[Any, Any, object]) -> bool:
    """Return whether a call gives no answer at once."""
    try:
        async with asyncio.timeout(0):
            await call
    except TimeoutError:
        return True
    return False

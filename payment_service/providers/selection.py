"""The payment provider that the settings name."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from payment_service.providers.base import Provider
from payment_service.providers.simulated import SimulatedProvider
from payment_service.providers.xendit.client import XenditProvider
from payment_service.settings import PaymentSettings


@asynccontextmanager
async def open_provider(settings: PaymentSettings) -> AsyncIterator[Provider]:
    """Open the provider that the settings name."""
    if settings.provider == "simulated":
        yield SimulatedProvider(settings.behaviour(), time.time)
        return
    async with httpx.AsyncClient(
        base_url=settings.xendit_url,
        auth=(settings.xendit_secret_key.get_secret_value(), ""),
        # A little shorter than the whole call may take, so that a timeout counts as a failure of Xendit.
        timeout=settings.call_timeout * 0.9,
    ) as http:
        yield XenditProvider(http, settings.merchant(), time.monotonic)

"""Requests to the adapter for Xendit."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx

from payment_service.providers.base import Approved, Charge, Pending, Refund
from payment_service.providers.xendit.client import XenditProvider
from payment_service.providers.xendit.messages import MerchantSettings
from tests.support.xendit import KEY, XenditError

MERCHANT = MerchantSettings(return_url="https://shop.example/back", display_name="Tea", country="ID")
TIMEOUT = 20.0
IMPATIENT = 0.5
SILENT = XenditError(silent=TIMEOUT)
SILENT_AFTER = replace(SILENT, after=True)


def client(url: str, key: str = KEY, read_timeout: float = TIMEOUT) -> httpx.AsyncClient:
    timeout = httpx.Timeout(TIMEOUT, read=read_timeout)
    return httpx.AsyncClient(base_url=url, auth=(key, ""), timeout=timeout, trust_env=False)


def charge(method: str | None = "pt-good-1", amount: str = "150000", **fields: Any) -> Charge:
    return replace(Charge("order-o-1", Decimal(amount), "IDR", method), **fields)


def refund(charge_id: str, attempt: int = 1) -> Refund:
    return Refund(f"refund-o-1-{attempt}", charge_id, Decimal(150000), "IDR", "pt-good-1")


async def charged(provider: XenditProvider) -> str:
    """Charge; return Xendit's reference."""
    answer = await provider.charge(charge())
    assert isinstance(answer, Approved)
    return answer.charge_id


async def pending(provider: XenditProvider, method: str = "GCASH") -> Pending:
    answer = await provider.charge(charge(method))
    assert isinstance(answer, Pending)
    return answer

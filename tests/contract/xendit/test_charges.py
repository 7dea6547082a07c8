"""What Xendit's answers to charges come to."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from payment_service.providers.base import Action, Approved, Charge, Declined, NoAnswer, Pending
from payment_service.providers.xendit.client import XenditProvider
from payment_service.providers.xendit.messages import MerchantSettings
from tests.contract.xendit.driver import charge, charged, client, pending
from tests.support.clock import Clock
from tests.support.xendit import StandIn


class TestCharge:
    async def test_success(self, provider: XenditProvider, xendit: StandIn) -> None:
        charge_id = await charged(provider)
        request = xendit.only()
        assert charge_id == request["payment_request_id"]
        assert {name: request[name] for name in ("reference_id", "type", "country", "currency")} == {
            "reference_id": "order-o-1",
            "type": "PAY",
            "country": "ID",
            "currency": "IDR",
        }
        assert (request["request_amount"], request["payment_token_id"]) == (150000, "pt-good-1")

    async def test_the_same_key_is_the_same_charge(self, provider: XenditProvider, xendit: StandIn) -> None:
        assert await charged(provider) == await charged(provider)
        assert len(xendit.requests) == 1

    async def test_decline(self, provider: XenditProvider) -> None:
        assert await provider.charge(charge("pt-poor-1")) == Declined("card_declined")

    async def test_a_request_that_is_refused_is_a_decline(
        self, provider: XenditProvider, xendit: StandIn
    ) -> None:
        assert await provider.charge(charge("pt-bad-1")) == Declined("invalid_token")
        await provider.check()
        assert len(xendit.calls) == 1

    @pytest.mark.parametrize(
        ("asked", "reason"),
        [
            (charge(None), "payment_method_unknown"),
            (charge("sim:approve"), "payment_method_unknown"),
            (charge(amount="0.5"), "amount_not_payable"),
            (charge(amount="1.005", currency="PHP"), "amount_not_payable"),
        ],
    )
    async def test_an_impossible_charge_is_declined_without_a_call(
        self, asked: Charge, reason: str, provider: XenditProvider, xendit: StandIn
    ) -> None:
        assert await provider.charge(asked) == Declined(reason)
        assert xendit.calls == []

    async def test_a_currency_without_a_country_is_declined(self, xendit: StandIn, clock: Clock) -> None:
        async with client(xendit.url) as http:
            provider = XenditProvider(http, MerchantSettings(), clock.seconds)
            assert await provider.charge(charge(currency="USD")) == Declined("currency_not_supported")

    @pytest.mark.parametrize(("amount", "written"), [("99.90", 99.9), ("0.01", 0.01), ("12", 12)])
    async def test_amounts_are_exact(
        self, amount: str, written: float, provider: XenditProvider, xendit: StandIn
    ) -> None:
        assert isinstance(await provider.charge(charge(amount=amount, currency="PHP")), Approved)
        assert xendit.only()["request_amount"] == written

    async def test_a_bank_transfer_ends_with_the_hold(
        self, provider: XenditProvider, xendit: StandIn
    ) -> None:
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=48)
        answer = await provider.charge(charge("BRI_VIRTUAL_ACCOUNT", expires_at=until))
        assert isinstance(answer, Pending)
        number = Action(kind="present", name="virtual_account_number", value="1251255")
        assert answer.actions == (number,)
        properties = xendit.only()["channel_properties"]
        assert datetime.fromisoformat(properties["expires_at"]) == until
        assert properties["display_name"] == "Tea"

    async def test_a_wallet_gets_no_time_of_expiry(self, provider: XenditProvider, xendit: StandIn) -> None:
        asked = charge("GCASH", expires_at=datetime.now(UTC) + timedelta(hours=1))
        assert isinstance(await provider.charge(asked), Pending)
        assert xendit.only()["channel_properties"] == {
            "success_return_url": "https://shop.example/back",
            "failure_return_url": "https://shop.example/back",
        }


class TestPending:
    async def test_a_pending_charge_may_be_paid(self, provider: XenditProvider, xendit: StandIn) -> None:
        deferred = await pending(provider)
        (action,) = deferred.actions
        assert (action.kind, action.name) == ("redirect", "web_url")
        assert await provider.fetch(charge("GCASH"), deferred.reference) == deferred
        xendit.pay(deferred.reference)
        assert await provider.fetch(charge("GCASH"), deferred.reference) == Approved(deferred.reference)

    async def test_a_pending_charge_may_expire(self, provider: XenditProvider, xendit: StandIn) -> None:
        deferred = await pending(provider)
        xendit.expire(deferred.reference)
        assert await provider.fetch(charge("GCASH"), deferred.reference) == Declined("expired")

    async def test_a_pending_charge_may_fail(self, provider: XenditProvider, xendit: StandIn) -> None:
        deferred = await pending(provider)
        xendit.fail(deferred.reference, "USER_DECLINED_PAYMENT")
        assert await provider.fetch(charge("GCASH"), deferred.reference) == Declined("user_declined_payment")

    async def test_a_pending_charge_may_be_cancelled(self, provider: XenditProvider) -> None:
        deferred = await pending(provider)
        assert await provider.cancel(charge("GCASH"), deferred.reference) == Declined("cancelled")
        assert await provider.fetch(charge("GCASH"), deferred.reference) == Declined("cancelled")

    async def test_a_late_cancellation_returns_the_approval(
        self, provider: XenditProvider, xendit: StandIn
    ) -> None:
        deferred = await pending(provider)
        xendit.pay(deferred.reference)
        assert await provider.cancel(charge("GCASH"), deferred.reference) == Approved(deferred.reference)

    async def test_a_repeated_charge_gets_the_first_answer(
        self, provider: XenditProvider, xendit: StandIn
    ) -> None:
        deferred = await pending(provider)
        xendit.pay(deferred.reference)
        assert await pending(provider) == deferred
        assert await provider.fetch(charge("GCASH"), deferred.reference) == Approved(deferred.reference)

    @pytest.mark.parametrize(
        "other", [{"key": "order-o-2"}, {"amount": Decimal(1)}, {"currency": "PHP"}], ids=str
    )
    async def test_the_payment_of_another_order_settles_nothing(
        self, other: dict[str, Any], provider: XenditProvider, xendit: StandIn
    ) -> None:
        deferred = await pending(provider)
        xendit.pay(deferred.reference)
        with pytest.raises(NoAnswer, match="another payment"):
            await provider.fetch(charge("GCASH", **other), deferred.reference)

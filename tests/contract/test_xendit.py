"""The adapter for Xendit against a stand-in for it, over HTTP: what each of its answers comes to."""

import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from local_stack.process import free_port
from payment_service.providers.base import (
    Action,
    Approved,
    Charge,
    Declined,
    NoAnswer,
    Notification,
    Pending,
    ProviderDown,
    Refund,
    Refunded,
    RefundRefused,
)
from payment_service.providers.circuit_breaker import OPEN_AFTER
from payment_service.providers.xendit.client import TRIES, XenditProvider
from payment_service.providers.xendit.messages import MerchantSettings, parse_notification
from tests.support.clock import Clock
from tests.support.xendit import KEY, StandIn, XenditError, stand_in

SHOP = MerchantSettings(return_url="https://shop.example/back", display_name="Tea", country="ID")
TIMEOUT = 20.0
IMPATIENT = 0.5
SILENT = XenditError(silent=TIMEOUT)
SILENT_AFTER = replace(SILENT, after=True)


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with stand_in() as xendit:
        yield xendit


@pytest.fixture
def xendit(server: StandIn) -> StandIn:
    """The stand-in, with empty books."""
    server.clear()
    return server


@pytest.fixture
def clock() -> Clock:
    return Clock()


def client(url: str, key: str = KEY, read_timeout: float = TIMEOUT) -> httpx.AsyncClient:
    timeout = httpx.Timeout(TIMEOUT, read=read_timeout)
    return httpx.AsyncClient(base_url=url, auth=(key, ""), timeout=timeout, trust_env=False)


@pytest.fixture
async def provider(xendit: StandIn, clock: Clock) -> AsyncIterator[XenditProvider]:
    async with client(xendit.url) as http:
        yield XenditProvider(http, SHOP, clock.seconds, random.Random(1))


@pytest.fixture
async def impatient(xendit: StandIn, clock: Clock) -> AsyncIterator[XenditProvider]:
    """One who does not wait for long, to be met with silence."""
    async with client(xendit.url, read_timeout=IMPATIENT) as http:
        yield XenditProvider(http, SHOP, clock.seconds)


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
    async def test_then_paid(self, provider: XenditProvider, xendit: StandIn) -> None:
        put_off = await pending(provider)
        (action,) = put_off.actions
        assert (action.kind, action.name) == ("redirect", "web_url")
        assert await provider.fetch(charge("GCASH"), put_off.reference) == put_off
        xendit.pay(put_off.reference)
        assert await provider.fetch(charge("GCASH"), put_off.reference) == Approved(put_off.reference)

    async def test_then_expired(self, provider: XenditProvider, xendit: StandIn) -> None:
        put_off = await pending(provider)
        xendit.expire(put_off.reference)
        assert await provider.fetch(charge("GCASH"), put_off.reference) == Declined("expired")

    async def test_then_failed(self, provider: XenditProvider, xendit: StandIn) -> None:
        put_off = await pending(provider)
        xendit.fail(put_off.reference, "USER_DECLINED_PAYMENT")
        assert await provider.fetch(charge("GCASH"), put_off.reference) == Declined("user_declined_payment")

    async def test_then_cancelled(self, provider: XenditProvider) -> None:
        put_off = await pending(provider)
        assert await provider.cancel(charge("GCASH"), put_off.reference) == Declined("cancelled")
        assert await provider.fetch(charge("GCASH"), put_off.reference) == Declined("cancelled")

    async def test_cancelled_too_late(self, provider: XenditProvider, xendit: StandIn) -> None:
        put_off = await pending(provider)
        xendit.pay(put_off.reference)
        assert await provider.cancel(charge("GCASH"), put_off.reference) == Approved(put_off.reference)

    async def test_a_repeated_charge_gets_the_first_answer(
        self, provider: XenditProvider, xendit: StandIn
    ) -> None:
        put_off = await pending(provider)
        xendit.pay(put_off.reference)
        assert await pending(provider) == put_off
        assert await provider.fetch(charge("GCASH"), put_off.reference) == Approved(put_off.reference)

    @pytest.mark.parametrize(
        "other", [{"key": "order-o-2"}, {"amount": Decimal(1)}, {"currency": "PHP"}], ids=str
    )
    async def test_the_payment_of_another_order_settles_nothing(
        self, other: dict[str, Any], provider: XenditProvider, xendit: StandIn
    ) -> None:
        put_off = await pending(provider)
        xendit.pay(put_off.reference)
        with pytest.raises(NoAnswer, match="another payment"):
            await provider.fetch(charge("GCASH", **other), put_off.reference)


class TestTrouble:
    @pytest.mark.parametrize("status", [500, 502, 503])
    async def test_a_5xx_is_tried_again_at_once_with_the_same_key(
        self, status: int, provider: XenditProvider, xendit: StandIn
    ) -> None:
        xendit.trouble = [XenditError(status, "SERVER_ERROR", after=True), XenditError(status)]
        await charged(provider)
        assert (len(xendit.calls), len(xendit.requests)) == (3, 1)

    async def test_repeated_5xx_is_no_answer_and_opens_the_circuit(
        self, provider: XenditProvider, xendit: StandIn, clock: Clock
    ) -> None:
        for _ in range(OPEN_AFTER):
            await provider.check()
            xendit.trouble = [XenditError(500, "SERVER_ERROR")] * TRIES
            with pytest.raises(NoAnswer):
                await provider.charge(charge())
        with pytest.raises(ProviderDown):
            await provider.check()
        clock.advance(60)
        await provider.check()
        await charged(provider)
        assert len(xendit.requests) == 1

    async def test_a_429_lets_all_wait_for_as_long_as_it_says(
        self, provider: XenditProvider, xendit: StandIn, clock: Clock
    ) -> None:
        xendit.trouble = [XenditError(429, "RATE_LIMIT_EXCEEDED", headers={"Rate-Limit-Reset": "12.5"})]
        with pytest.raises(ProviderDown):
            await provider.charge(charge())
        assert len(xendit.calls) == 1
        clock.advance(12.4)
        with pytest.raises(ProviderDown, match="too many requests"):
            await provider.check()
        clock.advance(0.2)
        await provider.check()
        await charged(provider)

    async def test_one_channel_that_is_down_stops_no_other(
        self, provider: XenditProvider, xendit: StandIn
    ) -> None:
        xendit.trouble = [XenditError(503, "CHANNEL_UNAVAILABLE")] * (2 * OPEN_AFTER)
        for _ in range(2 * OPEN_AFTER):
            with pytest.raises(NoAnswer, match="channel_unavailable"):
                await provider.charge(charge("GCASH"))
        await provider.check()
        await charged(provider)

    async def test_a_timeout_after_the_charge_was_made_charges_once(
        self, impatient: XenditProvider, provider: XenditProvider, xendit: StandIn
    ) -> None:
        xendit.trouble = [SILENT_AFTER]
        with pytest.raises(NoAnswer):
            await impatient.charge(charge())
        assert xendit.only()["status"] == "SUCCEEDED"
        assert await charged(provider) == xendit.only()["payment_request_id"]
        assert len(xendit.requests) == 1

    async def test_a_notification_resolves_a_charge_without_answer(
        self, impatient: XenditProvider, provider: XenditProvider, xendit: StandIn
    ) -> None:
        xendit.idempotent = False
        xendit.trouble = [SILENT_AFTER]
        with pytest.raises(NoAnswer):
            await impatient.charge(charge())
        with pytest.raises(NoAnswer, match="duplicate_error"):
            await provider.charge(charge())
        notification = parse_notification(xendit.payment_event(xendit.only()))
        assert notification is not None
        assert notification.key == "order-o-1"
        assert await provider.fetch(charge(), notification.reference) == Approved(notification.reference)

    async def test_silence_is_no_answer(self, impatient: XenditProvider, xendit: StandIn) -> None:
        xendit.trouble = [SILENT]
        with pytest.raises(NoAnswer, match="ReadTimeout"):
            await impatient.charge(charge())
        assert xendit.requests == {}

    async def test_an_unreachable_provider_is_down(self, clock: Clock) -> None:
        async with client(f"http://127.0.0.1:{free_port()}") as http:
            provider = XenditProvider(http, SHOP, clock.seconds)
            with pytest.raises(ProviderDown):
                await provider.charge(charge())
            with pytest.raises(ProviderDown, match="cannot be reached"):
                await provider.check()

    async def test_a_wrong_key_declines_no_charge_and_is_not_shown(
        self, xendit: StandIn, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with client(xendit.url, key="xnd_wrong-s3cret") as http:
            provider = XenditProvider(http, SHOP, clock.seconds)
            with pytest.raises(ProviderDown, match="invalid_api_key") as error:
                await provider.charge(charge())
            with pytest.raises(ProviderDown):
                await provider.check()
        said = capsys.readouterr()
        assert "s3cret" not in f"{said.out}{said.err}{error.value}"

    async def test_a_body_that_is_not_json_is_no_answer(
        self, provider: XenditProvider, xendit: StandIn
    ) -> None:
        xendit.trouble = [XenditError(200)] * TRIES
        with pytest.raises(NoAnswer):
            await provider.charge(charge())


class TestRefund:
    async def test_success(self, provider: XenditProvider, xendit: StandIn) -> None:
        xendit.refunds = "SUCCEEDED"
        answer = await provider.refund(refund(await charged(provider)))
        (made,) = xendit.refunds_made.values()
        assert answer == Refunded(made["id"])
        assert (made["reference_id"], made["amount"], made["reason"]) == (
            "refund-o-1-1",
            150000,
            "CANCELLATION",
        )

    @pytest.mark.parametrize(
        ("status", "code", "end"),
        [
            ("SUCCEEDED", None, Refunded),
            ("FAILED", "INSUFFICIENT_BALANCE", RefundRefused),
            ("CANCELLED", None, RefundRefused),
        ],
    )
    async def test_pending(
        self, status: str, code: str | None, end: type, provider: XenditProvider, xendit: StandIn
    ) -> None:
        asked = refund(await charged(provider))
        put_off = await provider.refund(asked)
        assert isinstance(put_off, Pending)
        assert await provider.fetch(asked, put_off.reference) == put_off
        xendit.decide_refund(status, code)
        answer = await provider.fetch(asked, put_off.reference)
        assert isinstance(answer, end)
        if isinstance(answer, RefundRefused):
            assert answer.reason == (code or status).lower()

    @pytest.mark.parametrize(
        ("code", "reason"), [("INSUFFICIENT_BALANCE", "insufficient_balance"), ("FAILED", "refund_failed")]
    )
    async def test_refused_and_then_made_under_another_key(
        self, code: str, reason: str, provider: XenditProvider, xendit: StandIn
    ) -> None:
        charge_id = await charged(provider)
        xendit.refunds = code
        assert await provider.refund(refund(charge_id)) == RefundRefused(reason)
        xendit.refunds = "SUCCEEDED"
        assert isinstance(await provider.refund(refund(charge_id, 2)), Refunded)

    @pytest.mark.parametrize("idempotent", [True, False], ids=["with keys", "without keys"])
    @pytest.mark.parametrize("state", ["PENDING", "SUCCEEDED"])
    async def test_a_timeout_after_the_refund_was_made_pays_back_once(
        self,
        state: str,
        idempotent: bool,
        impatient: XenditProvider,
        provider: XenditProvider,
        xendit: StandIn,
    ) -> None:
        charge_id = await charged(provider)
        xendit.refunds, xendit.idempotent = state, idempotent
        xendit.trouble = [SILENT_AFTER]
        with pytest.raises(NoAnswer):
            await impatient.refund(refund(charge_id))
        (made,) = xendit.refunds_made.values()
        again = await provider.refund(refund(charge_id))
        assert again == (Refunded(made["id"]) if state == "SUCCEEDED" else Pending(made["id"]))
        assert len(xendit.refunds_made) == 1

    async def test_a_refund_that_was_taken_for_refused_is_not_made_again(
        self, provider: XenditProvider, xendit: StandIn
    ) -> None:
        charge_id = await charged(provider)
        xendit.refunds = "SUCCEEDED"
        await provider.refund(refund(charge_id, 1))
        (made,) = xendit.refunds_made.values()
        assert await provider.refund(refund(charge_id, 2)) == Refunded(made["id"])
        assert len(xendit.refunds_made) == 1

    async def test_while_another_attempt_is_pending_there_is_no_answer(
        self, provider: XenditProvider, xendit: StandIn
    ) -> None:
        charge_id = await charged(provider)
        await provider.refund(refund(charge_id, 1))
        with pytest.raises(NoAnswer, match="refund_in_progress"):
            await provider.refund(refund(charge_id, 2))
        assert len(xendit.refunds_made) == 1

    async def test_the_refund_of_another_attempt_settles_nothing(
        self, provider: XenditProvider, xendit: StandIn
    ) -> None:
        xendit.refunds = "SUCCEEDED"
        charge_id = await charged(provider)
        made = await provider.refund(refund(charge_id, 1))
        assert isinstance(made, Refunded)
        with pytest.raises(NoAnswer, match="another refund"):
            await provider.fetch(refund(charge_id, 2), made.refund_id)


class TestNotices:
    async def test_a_payment(self, provider: XenditProvider, xendit: StandIn) -> None:
        reference = (await pending(provider)).reference
        event = xendit.payment_event(xendit.only(), "payment_request.expiry")
        assert parse_notification(event) == Notification("order-o-1", reference)

    async def test_a_refund_wherever_its_data_is(self, provider: XenditProvider, xendit: StandIn) -> None:
        put_off = await provider.refund(refund(await charged(provider)))
        assert isinstance(put_off, Pending)
        event = xendit.refund_event(xendit.decide_refund("SUCCEEDED"))
        assert parse_notification(event) == Notification("refund-o-1-1", put_off.reference)
        assert parse_notification(event["data"]) == Notification("refund-o-1-1", put_off.reference)

    @pytest.mark.parametrize(
        "event",
        [
            None,
            [],
            {"event": "payment.capture"},
            {"event": "payment.capture", "data": {}},
            {"event": "payment.capture", "data": {"reference_id": 7, "payment_request_id": "pr-1"}},
            {"event": "payment.capture", "data": {"reference_id": "order-1", "payment_request_id": "../x"}},
            {"event": "payout.succeeded", "data": {"reference_id": "order-1", "id": "po-1"}},
            {"event": 7, "data": {"reference_id": "order-1", "payment_request_id": "pr-1"}},
        ],
        ids=str,
    )
    def test_other_webhooks_are_no_notification(self, event: object) -> None:
        assert parse_notification(event) is None

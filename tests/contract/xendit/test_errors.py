"""What errors, silence and outages of Xendit come to."""

import pytest

from local_stack.process import free_port
from payment_service.providers.base import Approved, NoAnswer, ProviderDown
from payment_service.providers.circuit_breaker import OPEN_AFTER
from payment_service.providers.xendit.client import TRIES, XenditProvider
from payment_service.providers.xendit.messages import parse_notification
from tests.contract.xendit.driver import MERCHANT, SILENT, SILENT_AFTER, charge, charged, client
from tests.support.clock import Clock
from tests.support.xendit import StandIn, XenditError


class TestErrors:
    @pytest.mark.parametrize("status", [500, 502, 503])
    async def test_a_5xx_is_retried_at_once_with_the_same_key(
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

    async def test_a_429_opens_the_circuit_until_the_limit_ends(
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
            provider = XenditProvider(http, MERCHANT, clock.seconds)
            with pytest.raises(ProviderDown):
                await provider.charge(charge())
            with pytest.raises(ProviderDown, match="cannot be reached"):
                await provider.check()

    async def test_a_wrong_key_declines_no_charge_and_is_not_shown(
        self, xendit: StandIn, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with client(xendit.url, key="xnd_wrong-s3cret") as http:
            provider = XenditProvider(http, MERCHANT, clock.seconds)
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

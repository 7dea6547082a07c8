"""What Xendit's answers to refunds come to, and its webhooks."""

import pytest

from payment_service.providers.base import NoAnswer, Notification, Pending, Refunded, RefundRefused
from payment_service.providers.xendit.client import XenditProvider
from payment_service.providers.xendit.messages import parse_notification
from tests.contract.xendit.driver import SILENT_AFTER, charged, pending, refund
from tests.support.xendit import StandIn


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
        deferred = await provider.refund(asked)
        assert isinstance(deferred, Pending)
        assert await provider.fetch(asked, deferred.reference) == deferred
        xendit.decide_refund(status, code)
        answer = await provider.fetch(asked, deferred.reference)
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


class TestNotifications:
    async def test_a_payment(self, provider: XenditProvider, xendit: StandIn) -> None:
        reference = (await pending(provider)).reference
        event = xendit.payment_event(xendit.only(), "payment_request.expiry")
        assert parse_notification(event) == Notification("order-o-1", reference)

    async def test_a_refund_wherever_its_data_is(self, provider: XenditProvider, xendit: StandIn) -> None:
        deferred = await provider.refund(refund(await charged(provider)))
        assert isinstance(deferred, Pending)
        event = xendit.refund_event(xendit.decide_refund("SUCCEEDED"))
        assert parse_notification(event) == Notification("refund-o-1-1", deferred.reference)
        assert parse_notification(event["data"]) == Notification("refund-o-1-1", deferred.reference)

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

"""What the simulated provider does with a charge and its refund, as the directives say."""

import asyncio
from collections.abc import Coroutine
from hashlib import sha256
from typing import Any

import pytest

from payment_service.providers.base import (
    Approved,
    ChargeAnswer,
    Declined,
    Notification,
    Pending,
    ProviderDown,
    Refunded,
    RefundRefused,
)
from payment_service.providers.directives import LONGEST_WAIT
from payment_service.providers.simulated import SimulatedProvider
from tests.support.clock import Clock
from tests.unit.payment_service.provider import charge, provider, refund, silent


@pytest.mark.parametrize(
    "method",
    [None, "sim:approve", "tok_123", "sim", "sim:", "sim:delay:soon", "sim:delay:-1", "sim:delay:nan"],
)
async def test_a_charge_without_directives_is_approved_at_once(clock: Clock, method: str | None) -> None:
    assert isinstance(await provider(clock).charge(charge(method)), Approved)
    assert clock.elapsed == 0


async def test_one_key_gets_one_answer_from_every_process(clock: Clock) -> None:
    first, second = provider(clock), provider(clock)
    answer = await first.charge(charge())
    assert await first.charge(charge()) == await second.charge(charge()) == answer
    assert await first.refund(refund()) == await second.refund(refund())


async def test_other_keys_get_other_charges_and_refunds(clock: Clock) -> None:
    simulated = provider(clock)
    assert await simulated.charge(charge(key="order-1")) != await simulated.charge(charge(key="order-2"))
    assert await simulated.refund(refund(attempt=1)) != await simulated.refund(refund(attempt=2))


async def test_decline_declines_every_time(clock: Clock) -> None:
    simulated = provider(clock)
    assert [await simulated.charge(charge("sim:decline")) for _ in range(2)] == [Declined("declined")] * 2


class TestDelay:
    async def test_the_delay_runs_from_the_first_call(self, clock: Clock) -> None:
        assert isinstance(await provider(clock).charge(charge("sim:delay:2.5")), Approved)
        assert clock.slept == [2.5]

    async def test_a_later_call_waits_for_the_rest_only(self, clock: Clock) -> None:
        simulated = provider(clock)
        await simulated.charge(charge("sim:delay:10"))
        clock.elapsed = 4
        await simulated.charge(charge("sim:delay:10"))
        clock.elapsed = 11
        await simulated.charge(charge("sim:delay:10"))
        assert clock.slept == [10, 6, 0]

    async def test_each_key_waits_by_itself(self, clock: Clock) -> None:
        simulated = provider(clock)
        await simulated.charge(charge("sim:delay:10", key="order-1"))
        await simulated.charge(charge("sim:delay:3", key="order-2"))
        assert clock.slept == [10, 3]

    async def test_the_delay_of_the_settings_is_the_default(self, clock: Clock) -> None:
        simulated = provider(clock, delay=0.5)
        await simulated.charge(charge(key="order-1"))
        await simulated.charge(charge("sim:delay:3", key="order-2"))
        assert clock.slept == [0.5, 3]

    async def test_no_delay_is_longer_than_a_day(self, clock: Clock) -> None:
        await provider(clock).charge(charge("sim:delay:1e300"))
        assert clock.slept == [LONGEST_WAIT]


class TestTimeout:
    async def test_the_first_calls_get_no_answer_and_the_next_an_approval(self, clock: Clock) -> None:
        simulated = provider(clock)
        assert await silent(simulated.charge(charge("sim:timeout:2")))
        assert await silent(simulated.charge(charge("sim:timeout:2")))
        assert isinstance(await simulated.charge(charge("sim:timeout:2")), Approved)

    async def test_calls_are_counted_for_each_key(self, clock: Clock) -> None:
        simulated = provider(clock)
        assert await silent(simulated.charge(charge("sim:timeout:1", key="order-1")))
        assert await silent(simulated.charge(charge("sim:timeout:1", key="order-2")))


class TestOutage:
    async def test_an_outage_affects_every_charge_and_ends(self, clock: Clock) -> None:
        simulated = provider(clock)
        await simulated.check()
        with pytest.raises(ProviderDown):
            await simulated.charge(charge("sim:outage:30"))
        for call in (simulated.check, lambda: simulated.charge(charge()), lambda: simulated.refund(refund())):
            with pytest.raises(ProviderDown):
                await call()
        clock.elapsed = 29.9
        with pytest.raises(ProviderDown):
            await simulated.check()
        clock.elapsed = 30
        await simulated.check()
        assert isinstance(await simulated.charge(charge("sim:outage:30")), Approved)
        assert isinstance(await simulated.charge(charge()), Approved)

    async def test_repeated_calls_do_not_prolong_an_outage(self, clock: Clock) -> None:
        simulated = provider(clock)
        for later in (0, 10, 20):
            clock.elapsed = later
            with pytest.raises(ProviderDown):
                await simulated.charge(charge("sim:outage:30"))
        clock.elapsed = 30
        await simulated.check()

    async def test_a_shorter_outage_does_not_end_a_longer_one(self, clock: Clock) -> None:
        simulated = provider(clock)
        for seconds in (30, 5):
            with pytest.raises(ProviderDown):
                await simulated.charge(charge(f"sim:outage:{seconds}", key=f"order-{seconds}"))
        clock.elapsed = 6
        with pytest.raises(ProviderDown):
            await simulated.check()


async def notifications(
    simulated: SimulatedProvider, call: Coroutine[Any, Any, object]
) -> list[Notification]:
    """Make a call; return the notifications that it leads to, whenever they are given."""
    heard: list[Notification] = []

    async def listener(notification: Notification) -> None:
        heard.append(notification)

    simulated.subscribe(listener)
    before = asyncio.all_tasks()
    await call
    await asyncio.gather(*(asyncio.all_tasks() - before))
    return heard


class TestPending:
    @pytest.mark.parametrize(
        ("method", "end"),
        [
            ("sim:pending:60", Approved(f"ch-{sha256(b'order-o-1').hexdigest()[:24]}")),
            ("sim:expire:60", Declined("expired")),
        ],
    )
    async def test_every_process_decides_at_the_same_time(
        self, clock: Clock, method: str, end: ChargeAnswer
    ) -> None:
        put_off = await provider(clock).charge(charge(method))
        assert isinstance(put_off, Pending)
        (action,) = put_off.actions
        assert (action.kind, action.value.partition("://")[0]) == ("redirect", "https")
        another = provider(clock)
        clock.advance(59.9)
        assert await another.fetch(charge(method), put_off.reference) == put_off
        clock.advance(0.1)
        assert await another.fetch(charge(method), put_off.reference) == end

    async def test_a_repeated_call_keeps_the_time_of_decision(self, clock: Clock) -> None:
        simulated = provider(clock)
        first = await simulated.charge(charge("sim:pending:60"))
        clock.advance(30)
        assert await simulated.charge(charge("sim:pending:60")) == first

    async def test_a_cancelled_charge_is_declined_unless_it_was_made(self, clock: Clock) -> None:
        simulated = provider(clock)
        put_off = await simulated.charge(charge("sim:pending:60"))
        assert isinstance(put_off, Pending)
        assert await simulated.cancel(charge("sim:pending:60"), put_off.reference) == Declined("cancelled")
        clock.advance(60)
        paid = await simulated.cancel(charge("sim:pending:60"), put_off.reference)
        assert isinstance(paid, Approved)

    @pytest.mark.parametrize(
        ("method", "end"),
        [
            ("sim:pending-refund:60", Refunded(f"re-{sha256(b'refund-o-1-1').hexdigest()[:24]}")),
            ("sim:pending-refund:60:refuse-refund:1", RefundRefused("refused")),
        ],
    )
    async def test_a_pending_refund_is_decided_after_its_time(
        self, clock: Clock, method: str, end: object
    ) -> None:
        simulated = provider(clock)
        assert isinstance(await simulated.charge(charge(method)), Approved)
        put_off = await simulated.refund(refund(method))
        assert isinstance(put_off, Pending)
        assert put_off.actions == ()
        assert await simulated.fetch(refund(method), put_off.reference) == put_off
        clock.advance(60)
        assert await simulated.fetch(refund(method), put_off.reference) == end

    async def test_the_decision_is_notified_once(self, clock: Clock) -> None:
        simulated = provider(clock)
        (notification,) = await notifications(simulated, simulated.charge(charge("sim:pending:60")))
        assert (notification.key, clock.elapsed) == ("order-o-1", 60)
        assert isinstance(await simulated.fetch(charge("sim:pending:60"), notification.reference), Approved)
        assert await notifications(simulated, simulated.charge(charge("sim:pending:60"))) == []

    async def test_the_decision_may_be_notified_twice(self, clock: Clock) -> None:
        simulated = provider(clock)
        first, second = await notifications(
            simulated, simulated.charge(charge("sim:pending:60:notify-twice"))
        )
        assert first == second

    async def test_no_notification_is_sent_on_request(self, clock: Clock) -> None:
        simulated = provider(clock)
        assert (
            await notifications(simulated, simulated.charge(charge("sim:pending:60:no-notification"))) == []
        )

    async def test_an_approval_may_be_notified_too(self, clock: Clock) -> None:
        simulated = provider(clock)
        (notification,) = await notifications(simulated, simulated.charge(charge("sim:notify-twice")))
        assert await simulated.fetch(
            charge("sim:notify-twice"), notification.reference
        ) == await simulated.charge(charge("sim:notify-twice"))


class TestRefund:
    async def test_a_refund_succeeds(self, clock: Clock) -> None:
        assert isinstance(await provider(clock).refund(refund()), Refunded)

    async def test_the_first_refund_attempts_are_refused_for_good(self, clock: Clock) -> None:
        simulated = provider(clock)
        assert isinstance(await simulated.charge(charge("sim:refuse-refund:2")), Approved)
        refused = RefundRefused("refused")
        for attempt in (1, 1, 2):
            assert await simulated.refund(refund("sim:refuse-refund:2", attempt)) == refused
        assert isinstance(await simulated.refund(refund("sim:refuse-refund:2", 3)), Refunded)
        assert await simulated.refund(refund("sim:refuse-refund:2", 1)) == refused

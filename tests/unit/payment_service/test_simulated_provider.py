"""The provider that only pretends: its answers depend on its settings and the request alone."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest

from payment_service.providers.base import (
    Approved,
    Charge,
    ChargeAnswer,
    Declined,
    Notification,
    Pending,
    ProviderDown,
    Refund,
    Refunded,
    RefundRefused,
)
from payment_service.providers.directives import LONGEST_WAIT, Behaviour, parse_rule
from payment_service.providers.simulated import SimulatedProvider
from tests.support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    # Only for the provider: other tasks of the tests' event loop sleep, too.
    its_asyncio = SimpleNamespace(sleep=clock.sleep, Event=asyncio.Event, create_task=asyncio.create_task)
    monkeypatch.setattr("payment_service.providers.simulated.asyncio", its_asyncio)
    return clock


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
    async def test_the_answer_comes_so_long_after_the_first_call(self, clock: Clock) -> None:
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

    async def test_asking_again_makes_it_no_longer(self, clock: Clock) -> None:
        simulated = provider(clock)
        for later in (0, 10, 20):
            clock.elapsed = later
            with pytest.raises(ProviderDown):
                await simulated.charge(charge("sim:outage:30"))
        clock.elapsed = 30
        await simulated.check()

    async def test_a_shorter_one_does_not_end_a_longer_one(self, clock: Clock) -> None:
        simulated = provider(clock)
        for seconds in (30, 5):
            with pytest.raises(ProviderDown):
                await simulated.charge(charge(f"sim:outage:{seconds}", key=f"order-{seconds}"))
        clock.elapsed = 6
        with pytest.raises(ProviderDown):
            await simulated.check()


async def notices(simulated: SimulatedProvider, call: Coroutine[Any, Any, object]) -> list[Notification]:
    """Make a call; return the notices that it leads to, whenever they are given."""
    heard: list[Notification] = []

    async def listener(notification: Notification) -> None:
        heard.append(notification)

    simulated.subscribe(listener)
    await call
    await asyncio.gather(*simulated._notifications)
    return heard


class TestPending:
    @pytest.mark.parametrize(
        ("method", "end"),
        [
            ("sim:pending:60", Approved(f"ch-{sha256(b'order-o-1').hexdigest()[:24]}")),
            ("sim:expire:60", Declined("expired")),
        ],
    )
    async def test_it_is_decided_after_so_long_whichever_process_asks(
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

    async def test_cancelled_it_is_not_charged_unless_it_was_before(self, clock: Clock) -> None:
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
    async def test_a_refund_is_decided_after_so_long(self, clock: Clock, method: str, end: object) -> None:
        simulated = provider(clock)
        assert isinstance(await simulated.charge(charge(method)), Approved)
        put_off = await simulated.refund(refund(method))
        assert isinstance(put_off, Pending)
        assert put_off.actions == ()
        assert await simulated.fetch(refund(method), put_off.reference) == put_off
        clock.advance(60)
        assert await simulated.fetch(refund(method), put_off.reference) == end

    async def test_notice_is_given_once_it_is_decided(self, clock: Clock) -> None:
        simulated = provider(clock)
        (notification,) = await notices(simulated, simulated.charge(charge("sim:pending:60")))
        assert (notification.key, clock.elapsed) == ("order-o-1", 60)
        assert isinstance(await simulated.fetch(charge("sim:pending:60"), notification.reference), Approved)
        assert await notices(simulated, simulated.charge(charge("sim:pending:60"))) == []

    async def test_notice_may_be_given_twice(self, clock: Clock) -> None:
        simulated = provider(clock)
        first, second = await notices(simulated, simulated.charge(charge("sim:pending:60:notify-twice")))
        assert first == second

    async def test_no_notice_is_given_where_that_is_wished(self, clock: Clock) -> None:
        simulated = provider(clock)
        assert await notices(simulated, simulated.charge(charge("sim:pending:60:no-notification"))) == []

    async def test_it_may_say_twice_that_it_has_approved(self, clock: Clock) -> None:
        simulated = provider(clock)
        (notification,) = await notices(simulated, simulated.charge(charge("sim:notify-twice")))
        assert await simulated.fetch(
            charge("sim:notify-twice"), notification.reference
        ) == await simulated.charge(charge("sim:notify-twice"))


class TestRules:
    async def test_the_first_rule_that_fits_decides(self, clock: Clock) -> None:
        rules = tuple(map(parse_rule, ("above:100=decline", "order:o-9*=delay:3", "rate:1=delay:1")))
        simulated = provider(clock, rules=rules)
        assert await simulated.charge(charge(amount="100.01")) == Declined("declined")
        assert isinstance(await simulated.charge(charge(key="order-o-99")), Approved)
        assert isinstance(await simulated.charge(charge(key="order-o-2")), Approved)
        assert clock.slept == [0, 3, 1]

    async def test_the_orders_directives_come_first(self, clock: Clock) -> None:
        simulated = provider(clock, rules=(parse_rule("rate:1=decline"),))
        assert isinstance(await simulated.charge(charge("sim:approve")), Approved)
        assert isinstance(await simulated.charge(charge("tok_123", key="order-2")), Declined)

    async def test_the_seed_decides_whom_a_rate_fits(self, clock: Clock) -> None:
        first, again, other = [
            await answers_to_many(provider(clock, rules=(parse_rule("rate:0.25=decline"),), seed=seed))
            for seed in (7, 7, 8)
        ]
        assert first == again != other
        assert 70 <= first.count(Declined("declined")) <= 130

    @pytest.mark.parametrize(
        "text",
        [
            *("", "decline", "rate:0.1", "rate:0.1=", "rate:0.1=explode", "order:=decline"),
            *("rate:2=decline", "rate:nan=decline", "above:much=decline", "colour:red=decline"),
        ],
    )
    def test_a_malformed_rule_is_rejected(self, text: str) -> None:
        with pytest.raises(ValueError, match="a rule is CONDITION"):
            parse_rule(text)


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


KEYS = [f"order-{number}" for number in range(400)]


async def answers_to_many(simulated: SimulatedProvider) -> list[ChargeAnswer]:
    return [await simulated.charge(charge(key=key)) for key in KEYS]


class TestSeveralWishes:
    async def test_each_has_its_own_number(self, clock: Clock) -> None:
        simulated = provider(clock)
        method = "sim:delay:2.5:timeout:1:refuse-refund:1"
        assert await silent(simulated.charge(charge(method)))
        assert isinstance(await simulated.charge(charge(method)), Approved)
        assert clock.slept == [2.5]
        assert isinstance(await simulated.refund(refund(method, 1)), RefundRefused)
        assert isinstance(await simulated.refund(refund(method, 2)), Refunded)

    async def test_one_without_a_number_takes_none_of_its_neighbours(self, clock: Clock) -> None:
        assert await provider(clock).charge(charge("sim:delay:3:decline")) == Declined("declined")
        assert clock.slept == [3]


class TestDeclinesBySettings:
    async def test_so_many_are_declined(self, clock: Clock) -> None:
        answers = await answers_to_many(provider(clock, decline_rate=0.25, seed=7))
        assert 70 <= answers.count(Declined("declined")) <= 130

    async def test_the_seed_decides_which(self, clock: Clock) -> None:
        first, again, other = [
            await answers_to_many(provider(clock, decline_rate=0.25, seed=seed)) for seed in (7, 7, 8)
        ]
        assert first == again
        assert first != other

    async def test_a_decline_rate_of_0_declines_no_charge(self, clock: Clock) -> None:
        assert Declined("declined") not in await answers_to_many(provider(clock, decline_rate=0))

    async def test_a_rate_of_one_declines_everybody(self, clock: Clock) -> None:
        answers = await answers_to_many(provider(clock, decline_rate=1))
        assert answers == [Declined("declined")] * len(KEYS)

    async def test_only_amounts_above_the_limit_are_declined(self, clock: Clock) -> None:
        simulated = provider(clock, decline_above=Decimal(100))
        assert isinstance(await simulated.charge(charge(amount="100")), Approved)
        dear = replace(charge(amount="100.01"), key="order-2")
        assert await simulated.charge(dear) == Declined("declined")

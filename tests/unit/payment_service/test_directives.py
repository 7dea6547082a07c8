"""Directives of the settings: rules, seeds and decline rates, and several in one payment method."""

from dataclasses import replace
from decimal import Decimal

import pytest

from payment_service.providers.base import Approved, ChargeAnswer, Declined, Refunded, RefundRefused
from payment_service.providers.directives import parse_rule
from payment_service.providers.simulated import SimulatedProvider
from tests.support.clock import Clock
from tests.unit.payment_service.provider import charge, provider, refund, silent


class TestRules:
    async def test_the_first_matching_rule_decides(self, clock: Clock) -> None:
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

    async def test_the_seed_decides_which_charges_a_rate_matches(self, clock: Clock) -> None:
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


KEYS = [f"order-{number}" for number in range(400)]


async def answers_to_many(simulated: SimulatedProvider) -> list[ChargeAnswer]:
    return [await simulated.charge(charge(key=key)) for key in KEYS]


class TestSeveralDirectives:
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
    async def test_the_rate_decides_how_many_charges_are_declined(self, clock: Clock) -> None:
        answers = await answers_to_many(provider(clock, decline_rate=0.25, seed=7))
        assert 70 <= answers.count(Declined("declined")) <= 130

    async def test_the_seed_decides_which_charges_are_declined(self, clock: Clock) -> None:
        first, again, other = [
            await answers_to_many(provider(clock, decline_rate=0.25, seed=seed)) for seed in (7, 7, 8)
        ]
        assert first == again
        assert first != other

    async def test_a_decline_rate_of_0_declines_no_charge(self, clock: Clock) -> None:
        assert Declined("declined") not in await answers_to_many(provider(clock, decline_rate=0))

    async def test_a_decline_rate_of_1_declines_every_charge(self, clock: Clock) -> None:
        answers = await answers_to_many(provider(clock, decline_rate=1))
        assert answers == [Declined("declined")] * len(KEYS)

    async def test_only_amounts_above_the_limit_are_declined(self, clock: Clock) -> None:
        simulated = provider(clock, decline_above=Decimal(100))
        assert isinstance(await simulated.charge(charge(amount="100")), Approved)
        dear = replace(charge(amount="100.01"), key="order-2")
        assert await simulated.charge(dear) == Declined("declined")

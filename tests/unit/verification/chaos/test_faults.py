"""The plan of a chaos run, and the orders that go with it."""

from collections import Counter
from itertools import pairwise

import pytest

from operations.client import SagaClient
from operations.endpoints import DEFAULTS
from verification.chaos.faults import BROKER, BROKER_GRACE, BROKER_PAUSE, KINDS, PARTS, plan
from verification.chaos.workload import PROFILES, Workload

LONG = plan(7, 3000, 500)


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan(7, 600, 100) == plan(7, 600, 100)
    assert plan(7, 600, 100) != plan(8, 600, 100)


def test_faults_are_spread_evenly() -> None:
    assert len(LONG) == 500
    assert [fault.at // 6 for fault in LONG] == list(range(500))


def test_every_part_gets_every_kind_of_fault() -> None:
    assert {(fault.part, fault.kind) for fault in LONG} == {(part, kind) for part in PARTS for kind in KINDS}


@pytest.mark.parametrize("seed", range(20))
def test_the_broker_has_time_between_two_restarts(seed: int) -> None:
    restarts = [
        fault.at for fault in plan(seed, 600, 100) if fault.part == BROKER and fault.kind in ("kill", "stop")
    ]
    assert all(at >= BROKER_GRACE for at in restarts)
    assert all(later - earlier >= BROKER_PAUSE for earlier, later in pairwise(restarts))


async def test_the_same_seed_gives_the_same_orders() -> None:
    async with SagaClient(DEFAULTS) as services:

        def drawn(seed: int) -> list[str]:
            return [profile.name for profile in Workload(services, DEFAULTS, 500, 60, seed).profiles]

        assert drawn(1) == drawn(1) != drawn(2)
        assert Counter(drawn(1)).keys() == {profile.name for profile in PROFILES}

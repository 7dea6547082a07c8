"""What a saga costs, counted on the wire, so that it holds on any machine: no figure here is a time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import pytest
from pymongo import MongoClient

from benchmarks.load import burst, one_by_one
from benchmarks.stamps import Stamps
from benchmarks.systems.saga import SagaSystem
from benchmarks.wire.counting import counting
from benchmarks.wire.mongodb import Query
from benchmarks.workload import order
from events.catalogue import INVENTORY, ORDER, PAYMENT, SERVICES
from tests.support.broker import Broker, BrokerAddress, virtual_host
from tests.support.users import at, load_users

WARM_UP = 20
ONE_BY_ONE = 20
BATCH = 100
TRAILING = 0.3
"""Seconds after the last event in which acks are still under way."""
REST = 2.0
SWEEPS_A_SECOND = 2
"""How often a service looks for what is due, as its settings say."""
FOLD = 10
"""Commands of the one fold of the ledger that may follow the burst."""

EXACTLY: Mapping[str, Mapping[str, int]] = {
    ORDER: {
        "delivered": 4,
        "published": 3,
        "insert orders": 1,
        "update orders": 3,
        "insert orders_announced": 1,
    },
    INVENTORY: {
        "delivered": 2,
        "published": 2,
        "insert reservations": 1,
        "update reservations": 1,
        "update stock": 4,
        "commitTransaction": 2,
    },
    PAYMENT: {"delivered": 1, "published": 1, "insert payments": 1, "update payments": 1},
}
"""The messages and writes of one saga of two lines, confirmed or declined, with one after the other."""
AT_MOST: Mapping[str, Mapping[str, int]] = {
    ORDER: {"round trips": 5, "index entries": 6, "database bytes": 10_500, "broker bytes": 5_500},
    INVENTORY: {
        "find stock by _id": 1,
        "find warehouses by nothing": 1,
        "round trips": 8,
        "index entries": 3,
        "database bytes": 7_500,
        "broker bytes": 3_200,
    },
    PAYMENT: {
        "insert payments_announced": 1,
        "round trips": 3,
        "index entries": 4,
        "database bytes": 3_300,
        "broker bytes": 1_500,
    },
}
"""What else it may cost. What stands in neither table may not happen at all: no aggregate is read."""
SUMS = {"inserted", "changed", "returned", "acks", "confirms", "sweeps"}
"""Sums of what stands in the tables, and what comes with the clock."""
SHARED = {"round trips", "acks", "confirms"}
"""What the sagas of a burst share: at most half as many a saga as with one after the other."""
WHOLE_COLLECTIONS = {"inventory_service: find warehouses by nothing"}
"""Queries that want every document there is."""

Counts = Mapping[str, Counter[str]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the database ran a query."""

    stages: str
    examined: int
    returned: int


@dataclass(frozen=True, slots=True)
class Costs:
    """What was counted, by service, and how each kind of query was run."""

    confirmed: Counts
    declined: Counts
    batched: Counts
    resting: Counts
    """During `rested` seconds without an order."""
    rested: float
    plans: Mapping[str, Plan]


@dataclass(frozen=True, slots=True)
class BrokerOfUsers:
    """A virtual host in which each service is a user of its own."""

    broker: Broker
    url: str
    management_url: str

    def url_of(self, user: str) -> str:
        """Return its URL for a user."""
        return at(self.broker, user).url


@pytest.fixture(scope="module")
async def costs(broker_node: BrokerAddress, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Costs]:
    """Run sagas one after the other, and then many at once, through proxies that count."""
    directory = tmp_path_factory.mktemp("costs")
    numbers = iter(range(WARM_UP, 10_000))
    chosen: dict[bool, list[int]] = {True: [], False: []}
    while min(map(len, chosen.values())) < ONE_BY_ONE:
        number = next(numbers)
        chosen[order(number).declined].append(number)
    following = next(numbers)
    stamps = Stamps(directory / "stamps", create=True)
    with virtual_host(broker_node) as host:
        load_users(host)
        broker = BrokerOfUsers(host, host.url, broker_node.management_url)
        async with (
            SagaSystem().stored(directory, broker) as stored,
            counting(stored.addresses) as wires,
            stored.running(wires.addresses, stamps, directory) as saga,
        ):

            async def counted() -> Counts:
                await asyncio.sleep(TRAILING)
                return wires.counts()

            await burst(saga.submit, stamps, range(WARM_UP), _ignore)
            await counted()
            await one_by_one(saga.submit, stamps, chosen[False][:ONE_BY_ONE], _ignore)
            confirmed = await counted()
            await one_by_one(saga.submit, stamps, chosen[True][:ONE_BY_ONE], _ignore)
            declined = await counted()
            await burst(saga.submit, stamps, range(following, following + BATCH), _ignore)
            batched = await counted()
            urls = {service: node.url for service, node in stored.nodes.items()}
            started = monotonic()
            await asyncio.sleep(REST)
            resting = await counted()
            rested = monotonic() - started
            plans = {
                f"{service}: {what}": _plan(urls[service], query)
                for service in SERVICES
                for what, query in wires.seen[service].queries.items()
            }
            yield Costs(confirmed, declined, batched, resting, rested, plans)
    stamps.close()


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("ending", ["confirmed", "declined"])
def test_a_saga_has_exactly_these_messages_and_writes(costs: Costs, service: str, ending: str) -> None:
    counts = getattr(costs, ending)[service]
    per_saga = {name: counts[name] / ONE_BY_ONE for name in EXACTLY[service]}
    assert per_saga == EXACTLY[service]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("ending", ["confirmed", "declined"])
def test_a_saga_costs_no_more_than_its_limits(costs: Costs, service: str, ending: str) -> None:
    counts, limits = getattr(costs, ending)[service], AT_MOST[service]
    per_saga = {name: counts[name] / ONE_BY_ONE for name in limits}
    assert {name: value for name, value in per_saga.items() if value > limits[name]} == {}
    assert {*counts} <= {*EXACTLY[service], *limits, *SUMS}


@pytest.mark.parametrize("service", SERVICES)
def test_sagas_of_a_burst_share_round_trips_and_acks(costs: Costs, service: str) -> None:
    alone, together = costs.confirmed[service], costs.batched[service]
    shared = {name: together[name] / BATCH for name in SHARED}
    assert {name: value for name, value in shared.items() if value > alone[name] / ONE_BY_ONE / 2} == {}


@pytest.mark.parametrize("service", SERVICES)
def test_at_rest_a_service_only_looks_for_what_is_due(costs: Costs, service: str) -> None:
    counts = costs.resting[service]
    assert {*counts} <= {"sweeps", "broker bytes"}
    assert counts["sweeps"] <= costs.rested * SWEEPS_A_SECOND + 1 + FOLD
    # Heartbeats, on two connections.
    assert counts["broker bytes"] <= 100 * costs.rested


def test_every_query_of_a_saga_uses_an_index(costs: Costs) -> None:
    assert len(costs.plans) > 5
    assert {what for what, plan in costs.plans.items() if "IXSCAN" not in plan.stages} <= WHOLE_COLLECTIONS


def test_no_query_of_a_saga_examines_more_than_it_returns(costs: Costs) -> None:
    assert {what: plan for what, plan in costs.plans.items() if plan.examined > plan.returned} == {}


def _plan(url: str, query: Query) -> Plan:
    """Ask the server how it runs a query.

    What names an `_id` is found by it, whatever else it compares. The embedded server does so too, but its
    explanation says that it scans.
    """
    chosen = {"_id": query.filter["_id"]} if "_id" in query.filter else query.filter
    find: dict[str, Any] = {"find": query.collection, "filter": chosen}
    if query.sort:
        find["sort"] = query.sort
    if query.limit:
        find["limit"] = query.limit
    client: MongoClient[dict[str, Any]]
    with MongoClient(url) as client:
        found = client[query.database].command("explain", find, verbosity="executionStats")
    stats = found["executionStats"]
    return Plan(str(found["queryPlanner"]["winningPlan"]), stats["totalDocsExamined"], stats["nReturned"])


def _ignore(count: int) -> None:
    """Take no note of the progress."""

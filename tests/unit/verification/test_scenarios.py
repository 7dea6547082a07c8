"""The table of scenarios: its orders are valid, its events can happen, and playing one compares them."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest

from events.catalogue import Event, InventoryReservationRequested
from events.codec import from_json
from operations import endpoints
from operations.client import Json, SagaClient
from operations.event_tap import LAST_EVENTS, Recorder, Seen
from operations.generated import ROOT, replaced
from operations.registry import SPECS
from operations.timeline import TimelineStep
from tests.support.builders import NOW
from tests.support.builders import event as event_of
from verification.scenarios.diagram import COMMAND, PARTS, sequence_diagram
from verification.scenarios.scenario import Scenario, ScenarioRun, differences, play
from verification.scenarios.table import CONFIRMED, SCENARIOS

SCENARIO = replace(SCENARIOS[0], stock={"berlin": 5}, allocated={"berlin": 2})
END = "3 available, 0 reserved, 2 allocated"
AS_EXPECTED = {"available": 3, "reserved": 0, "allocated": 2}


def by_name(scenario: Scenario) -> str:
    return scenario.name


def steps(*kinds: type[Event]) -> list[TimelineStep]:
    return [TimelineStep(event_of(kind), 0) for kind in kinds]


def run(services: SagaClient | None = None) -> ScenarioRun:
    return ScenarioRun(services or SagaClient(endpoints.DEFAULTS), endpoints.DEFAULTS, "demo-1", 0.1)


def test_names_and_products_are_used_once() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    assert len({scenario.product for scenario in SCENARIOS}) == len(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=by_name)
def test_order_is_valid(scenario: Scenario) -> None:
    body = json.loads(json.dumps(scenario.order(run())))
    kind = InventoryReservationRequested.__name__
    from_json({"type": kind, "orderId": "o-1", **body}, forbid_unknown=True)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=by_name)
def test_each_event_can_follow_from_those_before(scenario: Scenario) -> None:
    for number, event in enumerate(scenario.events):
        assert event in causes(event.published_by, scenario.events[:number]), event.__name__
    assert [one.__name__ in LAST_EVENTS for one in scenario.events].index(True) == len(scenario.events) - 1


def causes(service: str, before: tuple[type[Event], ...]) -> Iterator[type[Event]]:
    """Yield what a service can publish after these events, or because of a call or a timer."""
    spec = SPECS[service]
    yield from (
        event for kind in before if kind in spec.reactions for event in spec.reactions[kind].publishes
    )
    yield from (event for rule in spec.transitions for event in rule.publishes)


def test_no_difference_if_all_is_as_expected() -> None:
    assert differences(SCENARIO, "confirmed", "", steps(*CONFIRMED)) == []


def test_other_end_and_other_events_are_differences() -> None:
    found = differences(SCENARIO, "failed", "declined", steps(*CONFIRMED[1:], CONFIRMED[1]))
    assert found == [
        "ended failed (declined) instead of confirmed",
        "never seen: InventoryReservationRequested",
        "not expected: InventoryReserved",
    ]


def test_other_reason_is_a_difference() -> None:
    scenario = next(one for one in SCENARIOS if one.name == "out of stock")
    found = differences(scenario, "failed", "declined", steps(*scenario.events))
    assert found == ["ended failed (declined) instead of failed (insufficient_stock)"]


@pytest.mark.parametrize(
    ("level", "payment", "problems"),
    [
        (AS_EXPECTED, "charged", []),
        (
            {**AS_EXPECTED, "reserved": 1},
            "charged",
            ["stock at berlin: {} instead of {}".format("3 available, 1 reserved, 2 allocated", END)],
        ),
        (AS_EXPECTED, "refunded", ["the payment is refunded instead of charged"]),
        (AS_EXPECTED, None, ["the payment is unknown instead of charged"]),
    ],
    ids=["as expected", "stock", "payment", "no payment"],
)
async def test_playing_compares_stock_and_payment(
    level: Json, payment: str | None, problems: list[str]
) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/stock":
            return httpx.Response(200, json={"stock": [{"warehouseId": "berlin", **level}]})
        if request.url.path == "/payments/o-1":
            return httpx.Response(200 if payment else 404, json={"status": payment})
        return httpx.Response(202, json={"orderId": "o-1", "status": "confirmed"})

    recorder = Recorder()

    async def arrivals() -> AsyncIterator[Seen]:
        for kind in CONFIRMED:
            yield Seen(event_of(kind), NOW)

    await recorder.record(arrivals())
    async with SagaClient(endpoints.DEFAULTS, httpx.MockTransport(serve)) as services:
        result = await play(run(services), SCENARIO, recorder)
    assert result.problems == problems
    assert (result.actual, len(result.steps)) == ("confirmed", len(CONFIRMED))


async def test_an_order_that_does_not_end_is_unfinished() -> None:
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, json={"orderId": "o-1", "status": "reserved"})
    )
    async with SagaClient(endpoints.DEFAULTS, transport) as services:
        result = await play(run(services), SCENARIO, Recorder())
    assert result.status == "unfinished"
    assert "still reserved" in result.problems[0]


def test_diagram_leads_each_event_to_its_readers() -> None:
    lines = [line.strip() for line in sequence_diagram(SCENARIO).splitlines()]
    assert lines[6:9] == [
        "order->>inventory: InventoryReservationRequested",
        "inventory->>order: InventoryReserved",
        "order->>payment: PaymentRequested",
    ]
    assert lines[-2] == "Note over order: OrderCreated"


@pytest.mark.parametrize(("file", "part"), PARTS)
def test_diagram_of_the_documentation_is_up_to_date(file: str, part: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    assert replaced(text, part, PARTS[file, part]()) == text, f"out of date: run `{COMMAND}`"

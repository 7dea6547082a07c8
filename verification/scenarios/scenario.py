"""A scenario: what a customer does with one order, how it has to end, and playing it on a running system."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from events.catalogue import Event
from operations.client import Json, SagaClient
from operations.endpoints import Endpoints
from operations.errors import CommandFailed
from operations.event_tap import Recorder
from operations.sample_stock import InitialLevel
from operations.timeline import TimelineStep, timeline

LAST_EVENT_SECONDS = 5.0
"""How long an order's last event may come after the order itself is seen to have ended."""

Units = Mapping[str, int]
"""Units of a product by warehouse."""


@dataclass(frozen=True, slots=True)
class ScenarioRun:
    """One run on a running system: its services, a limit in seconds, and a prefix of product and order ids.

    The prefix is the run's own, so that no other order draws on its stock.
    """

    services: SagaClient
    endpoints: Endpoints
    prefix: str
    timeout: float

    def product(self, name: str) -> str:
        """Return the product id of a name."""
        return f"{self.prefix}-{name}"

    def order(self, product: str, quantity: int, total: Decimal, options: Json | None = None) -> Json:
        """Return the body that places an order of a product, given by its name."""
        items = [{"productId": self.product(product), "quantity": quantity}]
        return {"userId": self.prefix, "items": items, "totalAmount": str(total), **(options or {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """An order of one product that no other scenario sells, and how it has to end.

    `events` are all events of the saga, in an order in which they can happen; `start` places the order and
    returns its id; `reason` has to be part of the order's reason. At the end, `allocated` of the `stock`
    belongs to the order, the rest is available, and `payment` is the payment's status, None without a
    payment.
    """

    name: str
    about: str
    product: str
    stock: Units
    quantity: int
    total: Decimal
    options: Json = field(default_factory=dict)
    start: Callable[[ScenarioRun, "Scenario"], Awaitable[str]]
    events: tuple[type[Event], ...]
    status: str
    reason: str = ""
    allocated: Units = field(default_factory=dict)
    payment: str | None = None

    @property
    def expected(self) -> str:
        """The expected end in words."""
        return _end(self.status, self.reason)

    def order(self, run: ScenarioRun) -> Json:
        """Return the body that places the order."""
        return run.order(self.product, self.quantity, self.total, self.options)

    def levels(self, run: ScenarioRun) -> list[InitialLevel]:
        """Return the stock to begin with."""
        return [(warehouse, run.product(self.product), units) for warehouse, units in self.stock.items()]


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """How a scenario ended, its timeline, and what differs from what was expected."""

    scenario: Scenario
    order_id: str
    status: str
    reason: str
    steps: list[TimelineStep]
    problems: list[str]

    @property
    def actual(self) -> str:
        """The end in words."""
        return _end(self.status, self.reason)


async def play(run: ScenarioRun, scenario: Scenario, recorder: Recorder) -> ScenarioResult:
    """Play a scenario, whose stock is there, to its end or until the run's limit."""
    order_id = ""
    try:
        order_id = await scenario.start(run, scenario)
        order = await run.services.ended(order_id, run.timeout)
        steps = timeline(await recorder.whole(order_id, LAST_EVENT_SECONDS))
        status, reason = order["status"], order.get("reason") or ""
        problems = [
            *differences(scenario, status, reason, steps),
            *await _stock_differences(run, scenario),
            *await _payment_differences(run, scenario, order_id),
        ]
    except CommandFailed as failure:
        steps = timeline(await recorder.whole(order_id, 0))
        return ScenarioResult(scenario, order_id, "unfinished", "", steps, [str(failure)])
    return ScenarioResult(scenario, order_id, status, reason, steps, problems)


def differences(scenario: Scenario, status: str, reason: str, steps: Collection[TimelineStep]) -> list[str]:
    """Compare how an order ended, and its events, with the scenario; return what differs."""
    found = []
    if status != scenario.status or scenario.reason not in reason:
        found.append(f"ended {_end(status, reason)} instead of {scenario.expected}")
    happened = Counter(step.event.type for step in steps)
    expected = Counter(kind.__name__ for kind in scenario.events)
    if missing := expected - happened:
        found.append(f"never seen: {', '.join(missing)}")
    if unexpected := happened - expected:
        found.append(f"not expected: {', '.join(unexpected)}")
    return found


async def _stock_differences(run: ScenarioRun, scenario: Scenario) -> list[str]:
    expected = {
        warehouse: (units - scenario.allocated.get(warehouse, 0), 0, scenario.allocated.get(warehouse, 0))
        for warehouse, units in scenario.stock.items()
    }
    actual = {
        level["warehouseId"]: (level["available"], level["reserved"], level["allocated"])
        for level in await run.services.stock(run.product(scenario.product))
    }
    return [
        f"stock at {warehouse}: {_level(actual.get(warehouse))} instead of {_level(level)}"
        for warehouse, level in expected.items()
        if actual.get(warehouse) != level
    ]


async def _payment_differences(run: ScenarioRun, scenario: Scenario, order_id: str) -> list[str]:
    payment = await run.services.payment_if_known(order_id)
    status = payment["status"] if payment else None
    if status == scenario.payment:
        return []
    return [f"the payment is {status or 'unknown'} instead of {scenario.payment or 'unknown'}"]


def _level(level: tuple[int, int, int] | None) -> str:
    return "no level" if level is None else "{} available, {} reserved, {} allocated".format(*level)


def _end(status: str, reason: str) -> str:
    return f"{status} ({reason})" if reason not in ("", status) else status

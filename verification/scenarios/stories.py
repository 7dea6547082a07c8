"""The stories `saga demo` tells: what a customer does, and how it has to end."""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import quote

import httpx

from events.catalogue import InventoryReserved
from operations.client import TERMINAL, Json, Services, unreachable
from operations.endpoints import Endpoints, broker_login
from operations.errors import CommandFailed
from operations.event_tap import Recorder
from operations.sample_stock import Level
from operations.timeline import Step, timeline

LAST_EVENT_SECONDS = 5.0
"""How long an order's last event may come after the order itself is seen to have ended."""
BY_HAND = "InventoryReservationRequested"

HELD = ("InventoryReservationRequested", "InventoryReserved", "PaymentRequested")
CONFIRMED = (
    *HELD,
    "PaymentCompleted",
    "InventoryConfirmationRequested",
    "InventoryConfirmed",
    "OrderCreated",
)
OUT_OF_STOCK = ("InventoryReservationRequested", "InventoryReservationFailed", "OrderFailed")
DECLINED = (*HELD, "PaymentFailed", "InventoryReleaseRequested", "InventoryReleased", "OrderFailed")
CANCELLED = (
    *HELD,
    "InventoryReleaseRequested",
    "PaymentRefundRequested",
    "InventoryReleased",
    "PaymentRefunded",
    "OrderFailed",
)
EXPIRED = (
    *HELD,
    "InventoryReservationExpired",
    "PaymentCompleted",
    "PaymentRefundRequested",
    "PaymentRefunded",
    "OrderFailed",
)


@dataclass(frozen=True, slots=True)
class DemoRun:
    """Where the stories are played: against which services, with whose products, with how much patience.

    `prefix` goes before the products' names, so that the books of one run are its own.
    """

    services: Services
    endpoints: Endpoints
    prefix: str
    timeout: float

    def product(self, name: str) -> str:
        """Return the product id of a name."""
        return f"{self.prefix}-{name}"

    def body(self, story: "Scenario") -> Json:
        """Return the order of a story, as it is posted."""
        items = [{"productId": self.product(name), "quantity": units} for name, units in story.takes.items()]
        return {"userId": self.prefix, "items": items, "totalAmount": str(story.total), **story.options}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is ordered, how, and what has to come of it.

    `takes` are units by product; `events` must all happen; `warehouses`, if not 0, must hold the stock
    together; `reason` must be part of the order's reason.
    """

    name: str
    about: str
    takes: Mapping[str, int]
    total: Decimal
    options: Json = field(default_factory=dict)
    start: Callable[[DemoRun, "Scenario"], Awaitable[str]]
    status: str
    reason: str = ""
    events: Collection[str]
    warehouses: int = 0

    @property
    def expected(self) -> str:
        """The expected end in words."""
        return _end(self.status, self.reason)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a story ended, its timeline, and what differs from what was expected."""

    story: Scenario
    order_id: str
    status: str
    reason: str
    steps: list[Step]
    problems: list[str]

    @property
    def actual(self) -> str:
        """The end in words."""
        return _end(self.status, self.reason)


async def place(stage: DemoRun, story: Scenario) -> str:
    """Place the story's order; return its id."""
    order = await stage.services.place(stage.body(story))
    return str(order["orderId"])


async def place_and_cancel(stage: DemoRun, story: Scenario) -> str:
    """Place the order, and cancel it while its payment is under way; return its id."""
    order_id = await place(stage, story)
    await stage.services.reached({"reserved", *TERMINAL}, order_id, stage.timeout)
    await stage.services.cancel(order_id)
    return order_id


async def publish_manually(stage: DemoRun, story: Scenario) -> str:
    """Publish the request as an operator would in the management UI, with nothing but the fields."""
    order_id = f"{stage.prefix}-by-hand"
    await post_manually(stage.endpoints, {"orderId": order_id, **stage.body(story)})
    return order_id


async def post_manually(at: Endpoints, request: Json) -> None:
    """Publish a request for a reservation over the broker's management API, confirmed.

    Raises:
        CommandFailed: the broker did not take it, or no queue did.
    """
    login = broker_login(at.rabbitmq)
    url = f"{at.management}/api/exchanges/{quote(login.vhost, safe='')}/order.events/publish"
    fields = {"type": BY_HAND, **request}
    message = {
        "properties": {},
        "routing_key": BY_HAND,
        "payload": json.dumps(fields),
        "payload_encoding": "string",
    }
    async with httpx.AsyncClient(auth=(login.user, login.password), trust_env=False) as http:
        try:
            answer = await http.post(url, json=message)
        except httpx.TransportError as error:
            raise CommandFailed(unreachable(at.management, error)) from None
    if not (answer.is_success and answer.json().get("routed")):
        raise CommandFailed(f"the broker's management API answered {answer.status_code}: {answer.text}")


STORIES = (
    Scenario(
        name="confirmed",
        about="two boxes of tea for a customer near Berlin",
        takes={"tea": 2},
        total=Decimal("25.00"),
        options={"userLocation": {"latitude": 52.5, "longitude": 13.4}},
        start=place,
        status="confirmed",
        events=CONFIRMED,
        warehouses=1,
    ),
    Scenario(
        name="confirmed from two warehouses",
        about="four kettles, and no warehouse has more than three",
        takes={"kettle": 4},
        total=Decimal("119.60"),
        start=place,
        status="confirmed",
        events=CONFIRMED,
        warehouses=2,
    ),
    Scenario(
        name="out of stock",
        about="three lamps, and there is one",
        takes={"lamp": 3},
        total=Decimal("90.00"),
        start=place,
        status="failed",
        reason="insufficient_stock",
        events=OUT_OF_STOCK,
    ),
    Scenario(
        name="declined and released",
        about="the payment is declined, so the stock is given back",
        takes={"tea": 1},
        total=Decimal("12.50"),
        options={"paymentMethod": "sim:decline"},
        start=place,
        status="failed",
        events=DECLINED,
    ),
    Scenario(
        name="cancelled while in flight",
        about="the customer cancels while the provider takes 2 s for the payment",
        takes={"tea": 1},
        total=Decimal("12.50"),
        options={"paymentMethod": "sim:delay:2"},
        start=place_and_cancel,
        status="cancelled",
        events=CANCELLED,
    ),
    Scenario(
        name="expired and refunded",
        about="the hold lasts 2 s, the payment takes 3.5 s: it comes too late and is refunded",
        takes={"tea": 1},
        total=Decimal("12.50"),
        options={"paymentMethod": "sim:delay:3.5", "expiresIn": 2},
        start=place,
        status="failed",
        reason="expired",
        events=EXPIRED,
    ),
    Scenario(
        name="published by hand",
        about="a bare InventoryReservationRequested through the broker's management API starts an order",
        takes={"tea": 2},
        total=Decimal("25.00"),
        start=publish_manually,
        status="confirmed",
        events=CONFIRMED,
        warehouses=1,
    ),
    Scenario(
        name="paid later",
        about="the provider waits 2 s for the customer, and gives notice once the payment is made",
        takes={"tea": 1},
        total=Decimal("12.50"),
        options={"paymentMethod": "sim:pending:2"},
        start=place,
        status="confirmed",
        events=CONFIRMED,
    ),
)

ONE_OF_MANY = Scenario(
    name="at once",
    about="one cup of coffee each",
    takes={"coffee": 1},
    total=Decimal("3.20"),
    start=place,
    status="confirmed",
    events=CONFIRMED,
)
"""The order that is placed many times at once."""


def stock_for(stage: DemoRun, orders_at_once: int) -> list[Level]:
    """Return the stock that lets every story end as it should."""
    tea = [(warehouse, stage.product("tea"), 20) for warehouse in ("berlin", "amsterdam", "madrid")]
    coffee = [(warehouse, stage.product("coffee"), orders_at_once) for warehouse in ("berlin", "amsterdam")]
    kettles = [(warehouse, stage.product("kettle"), 3) for warehouse in ("berlin", "amsterdam")]
    return [*tea, *coffee, *kettles, ("madrid", stage.product("lamp"), 1)]


async def play(stage: DemoRun, story: Scenario, recorder: Recorder) -> Outcome:
    """Play a story to its end, or until the stage's patience ends."""
    order_id = ""
    try:
        order_id = await story.start(stage, story)
        order = await stage.services.ended(order_id, stage.timeout)
    except CommandFailed as failure:
        steps = timeline(await recorder.whole(order_id, 0))
        return Outcome(story, order_id, "unfinished", "", steps, [str(failure)])
    steps = timeline(await recorder.whole(order_id, LAST_EVENT_SECONDS))
    reason = order.get("reason") or ""
    return Outcome(
        story, order_id, order["status"], reason, steps, differences(story, order["status"], reason, steps)
    )


def differences(story: Scenario, status: str, reason: str, steps: Collection[Step]) -> list[str]:
    """Compare how an order ended, and its events, with the story; return what differs."""
    found = []
    if status != story.status or story.reason not in reason:
        found.append(f"ended {_end(status, reason)} instead of {story.expected}")
    happened = {step.event.type for step in steps}
    missing = [kind for kind in story.events if kind not in happened]
    if missing:
        found.append(f"never seen: {', '.join(missing)}")
    used = _warehouses_used(steps)
    if story.warehouses and len(used) != story.warehouses:
        found.append(
            f"held at {len(used)} warehouses ({', '.join(sorted(used))}) instead of {story.warehouses}"
        )
    return found


def _end(status: str, reason: str) -> str:
    return f"{status} ({reason})" if reason not in ("", status) else status


def _warehouses_used(steps: Collection[Step]) -> set[str]:
    held = (step.event.reservations for step in steps if isinstance(step.event, InventoryReserved))
    return {line.warehouse_id for reservations in held for line in reservations}

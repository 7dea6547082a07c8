"""What a customer or an operator does in a scenario: each places its order and returns the order's id."""

import json

from events.catalogue import ORDER, InventoryReservationRequested
from operations import manual_publishing
from operations.client import Json
from operations.endpoints import Endpoints
from saga.messaging.topology import exchange_of
from verification.scenarios.scenario import Scenario, ScenarioRun


async def place(run: ScenarioRun, scenario: Scenario) -> str:
    """Place the order over HTTP."""
    order = await run.services.place(scenario.order(run))
    return str(order["orderId"])


async def cancel_while_charging(run: ScenarioRun, scenario: Scenario) -> str:
    """Place the order, and cancel it while the provider is charging."""
    order_id = await place(run, scenario)
    await run.services.payment_started(order_id, run.timeout)
    await run.services.cancel(order_id)
    return order_id


async def cancel_while_unpaid(run: ScenarioRun, scenario: Scenario) -> str:
    """Place the order, and cancel it once the customer could pay."""
    order_id = await place(run, scenario)
    await run.services.payment_pending(order_id, run.timeout)
    await run.services.cancel(order_id)
    return order_id


async def publish_manually(run: ScenarioRun, scenario: Scenario) -> str:
    """Publish the request as an operator would in the management UI, with its business fields alone."""
    order_id = f"{run.prefix}-manual"
    await publish_request(run.endpoints, {"orderId": order_id, **scenario.order(run)})
    return order_id


async def publish_request(at: Endpoints, request: Json) -> None:
    """Publish a request for a reservation; see `operations.manual_publishing`."""
    kind = InventoryReservationRequested.__name__
    payload = json.dumps({"type": kind, **request})
    await manual_publishing.publish_manually(at, exchange_of(ORDER), kind, payload)

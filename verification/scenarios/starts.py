"""What a customer or an operator does in a scenario: each places its order and returns the order's id."""

import json
from urllib.parse import quote

import httpx

from operations.client import Json, unreachable
from operations.endpoints import Endpoints, broker_login
from operations.errors import CommandFailed
from order_service.order import TERMINAL
from verification.scenarios.scenario import Scenario, ScenarioRun

REQUEST = "InventoryReservationRequested"


async def place(run: ScenarioRun, scenario: Scenario) -> str:
    """Place the order over HTTP."""
    order = await run.services.place(scenario.order(run))
    return str(order["orderId"])


async def cancel_while_charging(run: ScenarioRun, scenario: Scenario) -> str:
    """Place the order, and cancel it while the provider is charging."""
    order_id = await place(run, scenario)
    await run.services.reached({"reserved", *TERMINAL}, order_id, run.timeout)
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
    """Publish a request for a reservation over the broker's management API, confirmed.

    Raises:
        CommandFailed: the broker or every queue rejected it.
    """
    login = broker_login(at.rabbitmq)
    url = f"{at.management}/api/exchanges/{quote(login.vhost, safe='')}/order.events/publish"
    message = {
        "properties": {},
        "routing_key": REQUEST,
        "payload": json.dumps({"type": REQUEST, **request}),
        "payload_encoding": "string",
    }
    async with httpx.AsyncClient(auth=(login.user, login.password), trust_env=False) as http:
        try:
            answer = await http.post(url, json=message)
        except httpx.TransportError as error:
            raise CommandFailed(unreachable(at.management, error)) from None
    if not (answer.is_success and answer.json().get("routed")):
        raise CommandFailed(f"the broker's management API answered {answer.status_code}: {answer.text}")

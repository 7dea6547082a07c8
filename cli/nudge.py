"""`saga nudge`: publishes the unanswered requests of orders again."""

import asyncio
import json
from typing import Annotated

import typer

from operations.client import Json, SagaClient
from operations.endpoints import find

EPILOG = """\b
If the broker has lost a message, the order that waits for it is stuck. The services keep the requests that
they have published, and publish them again: automatically (after ORDER_NUDGE_AFTER, 60 s, then after twice as
long each time), or at once by this command. That is always safe: a service that has answered before repeats
its answer.

\b
Examples:
  saga nudge                  all orders
  saga nudge o-1 o-2          these orders
"""


def nudge(
    order_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ORDER_ID]...", help="Only these orders.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the published requests as JSON.")] = False,
) -> None:
    """Publish again the unanswered requests of all orders, or of the orders named."""
    published = asyncio.run(_nudge(order_ids or []))
    if as_json:
        print(json.dumps(published))
        return
    for request in published:
        print(f"{request['orderId']}  {request['type']}")
    orders = {request["orderId"] for request in published}
    typer.echo(f"{len(published)} requests of {len(orders)} orders were published again", err=True)


async def _nudge(order_ids: list[str]) -> list[Json]:
    async with SagaClient(find()) as services:
        if not order_ids:
            return await services.nudge()
        return [request for order_id in order_ids for request in await services.nudge(order_id)]

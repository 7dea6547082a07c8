"""`saga nudge`: have orders that do not move ask again for what they wait for."""

import json
from typing import Annotated

import typer

from cli.console import run
from operations.client import Json, Services
from operations.endpoints import find

EPILOG = """\b
When the broker has lost its messages, the orders that waited for one of them do not move any more. The
services keep what they have published, and publish it again: by themselves after a while (ORDER_NUDGE_AFTER,
60 s, then twice as long each time), or now by this command. It is always safe: who has answered before
answers the same.

\b
Examples:
  saga nudge                  every order that waits for something
  saga nudge o-1 o-2          these
"""


def nudge(
    order_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ORDER_ID]...", help="Only these orders.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was published as JSON.")] = False,
) -> None:
    """Have every order that has no answer ask again, or the orders named."""
    published = run(_nudge(order_ids or []))
    if as_json:
        print(json.dumps(published))
        return
    for question in published:
        print(f"{question['orderId']}  {question['type']}")
    orders = {question["orderId"] for question in published}
    typer.echo(f"{len(published)} requests of {len(orders)} orders were published again", err=True)


async def _nudge(order_ids: list[str]) -> list[Json]:
    async with Services(find()) as services:
        if not order_ids:
            return await services.nudge()
        return [question for order_id in order_ids for question in await services.nudge(order_id)]

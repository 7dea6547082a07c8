"""`saga dead-letters`: lists, shows, replays and drops the messages that a service could not handle."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated

import httpx
import structlog
import typer

from operations.client import Json, RequestFailed, SagaClient
from operations.dead_letters.dead_letter import (
    DeadLetter,
    DeadLetterFilter,
    cause,
    described,
    headline,
    publishable,
    summary,
    whole,
)
from operations.dead_letters.preview import as_fields, preview_replay, sentence
from operations.dead_letters.queue import opened
from operations.endpoints import find
from operations.errors import CommandFailed
from saga.messaging.topology import Topology
from saga.messaging.users import OPERATOR, user_of

app = typer.Typer(help="List, show, replay and drop dead letters.", no_args_is_help=True)


REPLAY_EPILOG = """\b
Examples:
  saga dead-letters replay --service inventory --dry-run
  saga dead-letters replay --service inventory --reason OutOfOrder
"""
DROP_EPILOG = """\b
Example: saga dead-letters drop --service order --reason 'not JSON' --json >> dropped.jsonl

\b
With --json, each line is the body of a request that publishes the message again to the same service:
  POST /api/exchanges/VHOST/SERVICE.return/publish
"""


class Service(StrEnum):
    """A service with a dead-letter queue."""

    order = "order"
    inventory = "inventory"
    payment = "payment"

    @property
    def topology(self) -> Topology:
        """The names of its exchanges and queues."""
        return Topology(f"{self}_service", reacts_to=(), publishes=())


Of = Annotated[Service, typer.Option("--service", help="The service that dead-lettered them.")]
OfAny = Annotated[
    Service | None, typer.Option("--service", help="Only those of this service.  [default: all]")
]
Kind = Annotated[str | None, typer.Option("--type", metavar="EVENT", help="Only events of this type.")]
OrderId = Annotated[str | None, typer.Option("--order", metavar="ORDER_ID", help="Only those of this order.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Only those whose reason contains this.")]
MessageId = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="Only the one with this id, as `list` prints it.")
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the N oldest.  [default: all]")]
Found = tuple[Service, int, Sequence[DeadLetter]]
"""A service, the number of its dead letters, and those that the options select."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list", epilog="Example: saga dead-letters list --service payment --reason 'out of attempts'")
def list_letters(
    service: OfAny = None,
    kind: Kind = None,
    order: OrderId = None,
    reason: Reason = None,
    message_id: MessageId = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Only the N oldest of each service.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first; none is removed.

    While this command reads messages, no other client of the broker can see them.
    """
    found = _look_through(service, DeadLetterFilter(kind, order, reason, message_id), limit)
    if as_json:
        typer.echo(_document(found, summary))
        return
    for one, total, letters in found:
        typer.echo(_heading(one, total, len(letters)))
        for letter in letters:
            typer.echo(f"  {headline(letter)}\n    {cause(letter)}")


@app.command(epilog="Example: saga dead-letters show --service order --id 6a7b")
def show(
    service: OfAny = None,
    kind: Kind = None,
    order: OrderId = None,
    reason: Reason = None,
    message_id: MessageId = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Only the N oldest of each service.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show dead letters in full: headers, reason, origin, body, and the status of their orders."""
    found = _look_through(service, DeadLetterFilter(kind, order, reason, message_id), limit)
    orders = asyncio.run(_orders([letter for _, _, letters in found for letter in letters]))
    if as_json:
        typer.echo(_document(found, lambda letter: {**whole(letter), "orderIs": orders[letter.order_id]}))
        return
    for one, total, letters in found:
        typer.echo(_heading(one, total, len(letters)))
        for letter in letters:
            typer.echo("\n".join(["", *described(letter, orders[letter.order_id])]))


@app.command(epilog=REPLAY_EPILOG)
def replay(
    service: Of,
    kind: Kind = None,
    order: OrderId = None,
    reason: Reason = None,
    message_id: MessageId = None,
    limit: Limit = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what a replay would do.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters to their service again, as new messages with all attempts.

    A message leaves the dead-letter queue once the broker has confirmed its copy, so that none is lost. After
    a crash in between, both exist; a service that handles a message twice changes nothing the second time.
    """
    selected_by = DeadLetterFilter(kind, order, reason, message_id)
    if dry_run:
        _preview(service, selected_by, limit, as_json)
        return
    total, replayed = asyncio.run(_replay(service, selected_by, limit, quiet=as_json))
    if as_json:
        typer.echo(_document([(service, total, replayed)], summary, "replayed"))
    else:
        typer.echo(_heading(service, total, len(replayed), " replayed"))


@app.command(epilog=DROP_EPILOG)
def drop(
    service: Of,
    kind: Kind = None,
    order: OrderId = None,
    reason: Reason = None,
    message_id: MessageId = None,
    limit: Limit = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each message as one line of JSON; see below.")
    ] = False,
) -> None:
    """Drop dead letters permanently, after confirmation; each is printed before it is dropped."""
    selected_by = DeadLetterFilter(kind, order, reason, message_id)
    total, letters = asyncio.run(_look(service, selected_by, limit))
    if letters and not yes:
        for letter in letters:
            typer.echo(f"{headline(letter)}\n  {cause(letter)}", err=True)
        typer.confirm(f"Drop {_heading(service, total, len(letters))} permanently?", abort=True, err=True)
    dropped = asyncio.run(_drop(service, letters, as_json)) if letters else 0
    if not as_json:
        typer.echo(_heading(service, total, dropped, " dropped"))


def _each(service: Service | None) -> list[Service]:
    return [service] if service else list(Service)


def _heading(service: Service, total: int, chosen: int, done: str = "") -> str:
    name = service.topology.service
    if not total:
        return f"{name}: no dead letters"
    of = "" if chosen == total else f"{chosen or 'none'} of "
    return f"{name}: {of}{total} dead {'letter' if total == 1 else 'letters'}{done}"


def _document(found: Sequence[Found], render: Callable[[DeadLetter], Json], name: str = "deadLetters") -> str:
    total = {service.topology.service: total for service, total, _ in found}
    return json.dumps(
        {"total": total, name: [render(letter) for _, _, letters in found for letter in letters]}
    )


def _look_through(service: Service | None, selected_by: DeadLetterFilter, limit: int) -> list[Found]:
    return [(one, *asyncio.run(_look(one, selected_by, limit))) for one in _each(service)]


async def _look(
    service: Service, selected_by: DeadLetterFilter, limit: int | None
) -> tuple[int, list[DeadLetter]]:
    """Return how many dead letters a service has, and those selected; none is removed."""
    async with opened(find().rabbitmq, service.topology) as queue:
        return queue.total, [letter async for letter in queue.letters(selected_by, limit)]


def _preview(service: Service, selected_by: DeadLetterFilter, limit: int | None, as_json: bool) -> None:
    # The preview reports a reaction that fails; its log lines would only repeat that.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    total, letters = asyncio.run(_look(service, selected_by, limit))
    at = find()
    # If there is an operator, each service has a user of its own, and checks the publisher of a message.
    known = user_of(at.rabbitmq) == OPERATOR
    name = service.topology.service
    mongodb = at.mongodb_of(name)
    expected = asyncio.run(preview_replay(letters, name, mongodb, check_publisher=known)) if letters else []
    previews = dict(zip(letters, expected, strict=True))
    if as_json:
        typer.echo(
            _document(
                [(service, total, letters)], lambda letter: {**summary(letter), **as_fields(previews[letter])}
            )
        )
        return
    typer.echo(_heading(service, total, len(letters)))
    for letter in letters:
        typer.echo(f"  {headline(letter)}\n    {sentence(previews[letter])}")


async def _replay(
    service: Service, selected_by: DeadLetterFilter, limit: int | None, *, quiet: bool
) -> tuple[int, list[DeadLetter]]:
    replayed: list[DeadLetter] = []
    try:
        async with opened(find().rabbitmq, service.topology) as queue:
            async for letter in queue.letters(selected_by, limit):
                await queue.replay(letter)
                replayed.append(letter)
                if not quiet:
                    typer.echo(f"replayed {headline(letter)}")
            return queue.total, replayed
    except CommandFailed as failure:
        raise CommandFailed(f"{failure}; {len(replayed)} had been replayed before") from None


async def _drop(service: Service, letters: Sequence[DeadLetter], as_json: bool) -> int:
    """Drop the letters that were shown and still exist; return how many."""
    left = Counter(letter.mark for letter in letters)
    dropped = 0
    async with opened(find().rabbitmq, service.topology) as queue:
        async for letter in queue.letters(DeadLetterFilter()):
            if left[letter.mark]:
                left[letter.mark] -= 1
                typer.echo(json.dumps(publishable(letter)) if as_json else _pasteable(letter))
                await queue.drop(letter)
                dropped += 1
    return dropped


def _pasteable(letter: DeadLetter) -> str:
    exchange, key = letter.origin
    return f"dropped {headline(letter)}\n  exchange {exchange}, routing key {key}, payload:\n  {letter.text}"


async def _orders(letters: Sequence[DeadLetter]) -> dict[str | None, str]:
    """Return the status of each order in words, by order id."""
    orders: dict[str | None, str] = {None: "the body names no order"}
    async with SagaClient(find()) as services:
        for order_id in {letter.order_id for letter in letters if letter.order_id}:
            orders[order_id] = await _order(services, order_id)
    return orders


async def _order(services: SagaClient, order_id: str) -> str:
    try:
        order = await services.order(order_id)
    except RequestFailed as error:
        return "unknown to the order service" if error.status == httpx.codes.NOT_FOUND else str(error)
    except CommandFailed as failure:
        return str(failure)
    why = f" ({order['reason']})" if order.get("reason") else ""
    awaited = f", awaits {', '.join(order['awaiting'])}" if order.get("awaiting") else ""
    return f"{order['status']}{why}{awaited}"

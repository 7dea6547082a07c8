"""`saga dead-letters`: look at the messages that a service has put away, replay them, drop them."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated

import httpx
import structlog
import typer

from cli.console import run
from operations.client import Json, RequestFailed, Services
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
from operations.dead_letters.preview import as_fields, forecasts, sentence
from operations.dead_letters.queue import opened
from operations.endpoints import find
from operations.errors import CommandFailed
from saga.messaging.topology import Topology
from saga.messaging.users import OPERATOR, user_of

app = typer.Typer(
    help="Look at the messages that a service has put away, replay them, drop them.", no_args_is_help=True
)


REPLAY_EPILOG = """\b
Examples:
  saga dead-letters replay --service inventory --dry-run
  saga dead-letters replay --service inventory --reason OutOfOrder
"""
DROP_EPILOG = """\b
Example: saga dead-letters drop --service order --reason 'not JSON' --json >> dropped.jsonl

\b
Each line of --json is what the management API takes to publish it again, to the service that had it:
  POST /api/exchanges/VHOST/SERVICE.return/publish
"""


class Service(StrEnum):
    """Whose dead letters."""

    order = "order"
    inventory = "inventory"
    payment = "payment"

    @property
    def topology(self) -> Topology:
        """The names of what it has at the broker."""
        return Topology(f"{self}_service", reacts_to=(), publishes=())


Of = Annotated[Service, typer.Option("--service", help="Whose dead letters.")]
OfAny = Annotated[Service | None, typer.Option("--service", help="Whose dead letters.  [default: all]")]
Kind = Annotated[str | None, typer.Option("--type", metavar="EVENT", help="Only events of this type.")]
OrderId = Annotated[str | None, typer.Option("--order", metavar="ORDER_ID", help="Only those of this order.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Only those whose reason contains this.")]
MessageId = Annotated[str | None, typer.Option("--id", metavar="ID", help="Only this one, by `list`'s id.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many, the oldest.  [default: all]")]
Found = tuple[Service, int, Sequence[DeadLetter]]
"""A service, how many dead letters it has in all, and those that were asked for."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list", epilog="Example: saga dead-letters list --service payment --reason 'out of attempts'")
def list_letters(
    service: OfAny = None,
    kind: Kind = None,
    order: OrderId = None,
    reason: Reason = None,
    message_id: MessageId = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many of each service, the oldest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first; all of them stay where they are.

    While a command looks at messages, the broker hides these from any other.
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
    limit: Annotated[int, typer.Option(min=1, help="At most so many of each service, the oldest.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show dead letters whole: headers, reason, origin, body, and how their orders stand."""
    found = _look_through(service, DeadLetterFilter(kind, order, reason, message_id), limit)
    orders = run(_orders([letter for _, _, letters in found for letter in letters]))
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what a replay would do; nothing is changed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Have the service read its dead letters once more, with all attempts before them.

    Each is published first and taken out of the dead letters when the broker has confirmed it, so that none
    is lost. A crash in between leaves it in both places; reading it twice changes nothing more.
    """
    wanted = DeadLetterFilter(kind, order, reason, message_id)
    if dry_run:
        _forecast(service, wanted, limit, as_json)
        return
    total, replayed = run(_replay(service, wanted, limit, quiet=as_json))
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
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each whole message as JSON, one a line; see below.")
    ] = False,
) -> None:
    """Drop dead letters for good, after asking; each is printed before it is dropped."""
    wanted = DeadLetterFilter(kind, order, reason, message_id)
    total, letters = run(_look(service, wanted, limit))
    if letters and not yes:
        for letter in letters:
            typer.echo(f"{headline(letter)}\n  {cause(letter)}", err=True)
        typer.confirm(f"Drop {_heading(service, total, len(letters))} for good?", abort=True, err=True)
    dropped = run(_drop(service, letters, as_json)) if letters else 0
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


def _look_through(service: Service | None, wanted: DeadLetterFilter, limit: int) -> list[Found]:
    return [(one, *run(_look(one, wanted, limit))) for one in _each(service)]


async def _look(
    service: Service, wanted: DeadLetterFilter, limit: int | None
) -> tuple[int, list[DeadLetter]]:
    """Return how many dead letters a service has, and those wanted; all of them stay."""
    async with opened(find().rabbitmq, service.topology) as queue:
        return queue.total, [letter async for letter in queue.letters(wanted, limit)]


def _forecast(service: Service, wanted: DeadLetterFilter, limit: int | None, as_json: bool) -> None:
    # A reaction that fails is told of in the forecast; its log would be in the way.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    total, letters = run(_look(service, wanted, limit))
    at = find()
    # Where people log in as the operator, the services do as themselves, and know who published what.
    known = user_of(at.rabbitmq) == OPERATOR
    name = service.topology.service
    expected = run(forecasts(letters, name, at.mongodb, check_publisher=known)) if letters else []
    told = dict(zip(letters, expected, strict=True))
    if as_json:
        typer.echo(
            _document(
                [(service, total, letters)], lambda letter: {**summary(letter), **as_fields(told[letter])}
            )
        )
        return
    typer.echo(_heading(service, total, len(letters)))
    for letter in letters:
        typer.echo(f"  {headline(letter)}\n    {sentence(told[letter])}")


async def _replay(
    service: Service, wanted: DeadLetterFilter, limit: int | None, *, quiet: bool
) -> tuple[int, list[DeadLetter]]:
    replayed: list[DeadLetter] = []
    try:
        async with opened(find().rabbitmq, service.topology) as queue:
            async for letter in queue.letters(wanted, limit):
                await queue.replay(letter)
                replayed.append(letter)
                if not quiet:
                    typer.echo(f"replayed {headline(letter)}")
            return queue.total, replayed
    except CommandFailed as failure:
        raise CommandFailed(f"{failure}; {len(replayed)} were replayed before") from None


async def _drop(service: Service, letters: Sequence[DeadLetter], as_json: bool) -> int:
    """Drop the letters that were looked at, as far as they are still there; return how many."""
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
    """Say how each order stands, by order id."""
    orders: dict[str | None, str] = {None: "the body names none"}
    async with Services(find()) as services:
        for order_id in {letter.order_id for letter in letters if letter.order_id}:
            orders[order_id] = await _order(services, order_id)
    return orders


async def _order(services: Services, order_id: str) -> str:
    try:
        order = await services.order(order_id)
    except RequestFailed as error:
        return "not known to the order service" if error.status == httpx.codes.NOT_FOUND else str(error)
    except CommandFailed as failure:
        return str(failure)
    why = f" ({order['reason']})" if order.get("reason") else ""
    awaited = f", awaits {', '.join(order['awaiting'])}" if order.get("awaiting") else ""
    return f"{order['status']}{why}{awaited}"

"""`saga dead-letters` for tests, and messages dead-lettered as a service does it."""

import asyncio
import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from cli import main
from events.catalogue import Event
from events.encoded import EncodedEvent
from operations.registry import SPECS
from saga.clock import utc_now
from saga.messaging.message import Delivery, dead_lettered, to_message
from saga.messaging.topology import Topology
from tests.support.broker import Client, until
from tests.support.services import DELAYS

NOWHERE = "http://127.0.0.1:1"


class Commands:
    """The command line, against one virtual host and the databases of that name."""

    def __init__(self, amqp_url: str, mongodb_url: str, database: str, state: Path) -> None:
        self.env = {
            "RABBITMQ_URL": amqp_url,
            "MONGODB_URL": mongodb_url,
            "ORDER_URL": NOWHERE,
            "SAGA_STATE": str(state),
        }
        for spec in SPECS.values():
            self.env[f"{spec.env_prefix}DATABASE"] = database
            self.env[f"{spec.env_prefix}RETRY_DELAYS"] = ",".join(map(str, DELAYS))

    async def __call__(self, *arguments: str, answer: str = "", code: int = 0) -> Result:
        """Run `saga dead-letters` with these arguments, in a thread of its own, since it has its own loop."""
        result = await asyncio.to_thread(
            CliRunner().invoke, main.app, ["dead-letters", *arguments], input=answer, env=self.env
        )
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result

    async def document(self, *arguments: str) -> dict[str, Any]:
        """Run it with --json; return what it prints."""
        document: dict[str, Any] = json.loads((await self(*arguments, "--json")).stdout)
        return document

    async def ids(self, *arguments: str) -> list[str]:
        """Return the ids of the dead letters of inventory, in order."""
        document = await self.document("list", "--service", "inventory", *arguments)
        return [letter["id"] for letter in document["deadLetters"]]

    async def previews(self, service: str) -> list[tuple[Any, ...]]:
        """Return result, statuses before and after, and events of each, as a dry run of all shows them."""
        document = await self.document("replay", "--service", service, "--dry-run")
        return fields_of(document, "result", "before", "after", "publishes")


def fields_of(document: dict[str, Any], *names: str) -> list[tuple[Any, ...]]:
    """Return these fields of every letter in a document."""
    return [tuple(letter[name] for name in names) for letter in document["deadLetters"]]


def one_line(result: Result) -> str:
    """Return the only line on standard error."""
    (line,) = result.stderr.splitlines()
    return str(line)


async def dead_letter(
    client: Client, topology: Topology, event: Event, reason: str = "out of attempts: for a test"
) -> str:
    """Dead-letter an event as its service does; return its message id."""
    message = to_message(EncodedEvent.of(event))
    delivery = Delivery(1, message.exchange, message.routing_key, message.body, message.message_id)
    await dead_letter_message(client, topology, delivery, reason)
    return str(message.message_id)


async def dead_letter_message(client: Client, topology: Topology, delivery: Delivery, reason: str) -> None:
    """Dead-letter any message as its service does."""
    letter = dead_lettered(delivery, topology, reason, utc_now())
    properties = {"message_id": letter.message_id, "headers": dict(letter.headers)}
    await client.publish(letter.exchange, letter.routing_key, letter.body, **properties)


async def until_dead(client: Client, topology: Topology, count: int) -> None:
    """Wait until a service has so many dead letters."""

    async def there() -> bool:
        return await client.depth(topology.dead_letter_queue) == count

    await until(there, f"{count} dead letters of {topology.service}")

"""A poison message: a real process that reads it, and a real SIGKILL each time."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from events.catalogue import ORDER, InventoryConfirmationRequested
from events.codec import decode
from local_stack.process import Child
from saga.messaging.message import REASON
from saga.messaging.poison import POISON_AFTER, QUARANTINE_AFTER
from tests.support.broker import Broker, Client, until
from tests.support.crashing_consumer import SERVICE
from tests.support.services import TOPOLOGIES

POISON = "poison"
NEIGHBOURS = [f"o-{number}" for number in range(60)]
LIMIT = 150.0
"""Seconds for several starts of a process on a busy machine."""


class Supervisor:
    """Starts a process again whenever it has crashed, as an init system does."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.crashes = 0

    async def run(self) -> None:
        """Keep the process running."""
        while True:
            await asyncio.to_thread(self.child.start)
            await until(lambda: not self.child.alive, "the reader crashes", 2 * LIMIT)
            self.crashes += 1


@asynccontextmanager
async def supervised(url: str, log: Path) -> AsyncIterator[Supervisor]:
    child = Child("reader", [sys.executable, "-m", "tests.support.crashing_consumer", url, POISON], log=log)
    supervisor = Supervisor(child)
    running = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.to_thread(child.kill)


@pytest.mark.timeout(300)
async def test_poison_message_is_isolated_and_other_messages_are_not(broker: Broker, tmp_path: Path) -> None:
    async with broker.connected() as client:
        order = await client.stand_in_for(TOPOLOGIES[ORDER])
        await (await client.stand_in_for(SERVICE)).bind()
        await order.bind(only_to=SERVICE.exchange)
        half = len(NEIGHBOURS) // 2
        await ask(client, *NEIGHBOURS[:half], POISON, *NEIGHBOURS[half:])
        async with supervised(broker.url, tmp_path / "reader.log") as supervisor:
            await until(lambda: supervisor.crashes > 0, "the reader has crashed", LIMIT)
            await ask(client, "newcomer")
            await until_answered(client, {*NEIGHBOURS, "newcomer"})

            async def dead_lettered() -> bool:
                return await client.depth(SERVICE.dead_letter_queue) > 0 and await emptied(client)

            await until(dead_lettered, "the poison message is dead-lettered, and nothing waits", LIMIT)
            await ask(client, "afterwards")
            await until_answered(client, {"afterwards"})
        # Its reader may have crashed between quarantining and acknowledging it: then it is there twice.
        assert QUARANTINE_AFTER + POISON_AFTER <= supervisor.crashes <= 2 * (QUARANTINE_AFTER + POISON_AFTER)
        for _ in range(await client.depth(SERVICE.dead_letter_queue)):
            letter = await client.get(SERVICE.dead_letter_queue)
            await letter.ack()
            assert decode(letter.body).order_id == POISON
            assert letter.headers[REASON] == "poison message: its reader crashed each time it was read alone"


async def ask(client: Client, *order_ids: str) -> None:
    for order_id in order_ids:
        await client.publish_event(InventoryConfirmationRequested(order_id=order_id))


async def until_answered(client: Client, order_ids: set[str]) -> None:
    """Wait until each of these orders was answered at least once."""
    missing = set(order_ids)
    queue = await client.channel.get_queue(ORDER, ensure=False)

    async def answered() -> bool:
        while message := await queue.get(fail=False):
            await message.ack()
            missing.discard(decode(message.body).order_id)
        return not missing

    await until(answered, f"answers to {len(order_ids)} orders", LIMIT)


async def emptied(client: Client) -> bool:
    return all([await client.depth(queue) == 0 for queue in (SERVICE.queue, SERVICE.quarantine_queue)])

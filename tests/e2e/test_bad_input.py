"""Bad input at scale: some eight hundred invalid messages, and valid ones in between."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from pathlib import Path

import aiormq
import pytest

from events.catalogue import SERVICES
from events.codec import MAX_BYTES
from local_stack.stack import Stack
from operations.registry import SPECS
from tests.support.bad_input import Forge, Sent
from tests.support.broker import Broker, BrokerAddress, Client, until
from tests.support.services import TOPOLOGIES
from tests.support.system import System, ended_all, fresh_settings, running

SEED = int(os.environ.get("FUZZ_SEED", "20261124"))
LIMIT = 120.0
MEMORY = 120 * 1024 * 1024
"""Bytes that a service may need at its peak beyond what it needs at rest."""


@pytest.fixture
async def fuzzed(
    broker: Broker, broker_node: BrokerAddress, mongodb_url: str, tmp_path: Path
) -> AsyncIterator[System]:
    """A system of this test's own, with short pauses before a retry."""
    env = {
        "RABBITMQ_URL": broker.url,
        "RABBITMQ_MANAGEMENT_URL": broker_node.management_url,
        "MONGODB_URL": mongodb_url,
        **fresh_settings(),
        **{f"{SPECS[name].env_prefix}RETRY_DELAYS": "0.1,0.2" for name in SERVICES},
    }
    async with running(Stack(tmp_path, env=env), env) as system:
        yield system


@pytest.mark.parametrize("waiting", [False, True])
async def test_the_system_stays_up_and_puts_each_bad_message_away_once(
    fuzzed: System, broker: Broker, waiting: bool
) -> None:
    """Everything comes while the services read, or waits for them as a backlog when they start."""
    seed = SEED + waiting
    sys.stdout.write(f"FUZZ_SEED={seed}\n")
    messages = Forge(seed, await fuzzed.stock(north=1_000)).everything()
    at_rest = memory(fuzzed, "VmRSS")
    stack = fuzzed.stack
    if waiting:
        await asyncio.gather(*(asyncio.to_thread(stack.service(name).stop, 20) for name in SERVICES))
    begun = readings(fuzzed) + (len(SERVICES) if waiting else 0)
    await publish_all(broker, messages)
    if waiting:
        await asyncio.gather(*(asyncio.to_thread(stack.start_service, name) for name in SERVICES))
    async with broker.connected() as client:
        await check(fuzzed, client, messages)
    stack.check()
    assert unexpected_errors(fuzzed) == []
    assert readings(fuzzed) == begun
    grown = {name: peak - at_rest[name] for name, peak in memory(fuzzed, "VmHWM").items()}
    shown = {name: f"{peak / 2**20:.0f} MiB" for name, peak in grown.items()}
    sys.stdout.write(f"{len(messages)} messages; memory beyond that at rest: {shown}\n")
    assert {name: peak for name, peak in grown.items() if peak > MEMORY} == {}


async def check(system: System, client: Client, messages: Sequence[Sent]) -> None:
    """Check that each bad message is a dead letter, once, wherever it came, and each good one an order."""
    good = [message.order_id for message in messages if message.order_id]
    orders = await ended_all(system, good, LIMIT)
    assert Counter(order["status"] for order in orders) == {"confirmed": len(good)}
    expected = {
        name: Counter(digest(message.body) for message in messages if name in message.dead_at)
        for name in SERVICES
    }
    await until_at_rest(client, {name: found.total() for name, found in expected.items()})
    known = {digest(message.body): message.about for message in messages}
    for name in SERVICES:
        letters = await drained(client, TOPOLOGIES[name].dead_letter_queue)
        missing = [known[body] for body in (expected[name] - letters).elements()]
        surplus = [known.get(body, "unknown") for body in (letters - expected[name]).elements()]
        assert (name, missing, surplus) == (name, [], [])


async def publish_all(broker: Broker, messages: Sequence[Sent]) -> None:
    """Publish, confirmed, one after the other, over a client that lets everything through."""
    connection = await aiormq.connect(broker.url)
    try:
        channel = await connection.channel(publisher_confirms=True)
        for message in messages:
            async with asyncio.timeout(LIMIT):
                await channel.basic_publish(
                    message.body,
                    exchange=message.exchange,
                    routing_key=message.key,
                    properties=message.amqp(),
                )
    finally:
        await connection.close()


async def until_at_rest(client: Client, dead: dict[str, int]) -> None:
    """Wait until so many letters are dead, and no other message waits anywhere."""

    async def at_rest() -> bool:
        for name, count in dead.items():
            topology = TOPOLOGIES[name]
            for queue in topology.queues:
                if await client.depth(queue) != (count if queue == topology.dead_letter_queue else 0):
                    return False
        return True

    await until(at_rest, f"{dead} letters are dead", limit=LIMIT)


async def drained(client: Client, queue: str) -> Counter[bytes]:
    """Take everything out of a queue; return how often each body was there."""
    found: Counter[bytes] = Counter()
    source = await client.channel.get_queue(queue, ensure=False)
    while message := await source.get(no_ack=True, fail=False):
        # What is too long is dead-lettered by the broker itself.
        assert message.headers.get("x-saga-reason") or len(message.body) > MAX_BYTES
        found[digest(message.body)] += 1
    return found


def digest(body: bytes) -> bytes:
    return sha256(body).digest()


def memory(system: System, name: str) -> dict[str, int]:
    """Return what the kernel says of each service's memory, in bytes: `VmRSS` now, or `VmHWM` at its peak."""
    found = {}
    for service in SERVICES:
        status = Path(f"/proc/{system.stack.service(service).pid}/status").read_text()
        (row,) = (row for row in status.splitlines() if row.startswith(name))
        found[service] = int(row.split()[1]) * 1024
    return found


def unexpected_errors(system: System) -> list[str]:
    """Return the unexpected errors that the services have logged."""
    logs = "".join((system.stack.logs_dir / f"{name}.log").read_text() for name in SERVICES)
    return [line[:500] for line in logs.splitlines() if '_failed"' in line and "dead_lettered" not in line]


def readings(system: System) -> int:
    """Return how often a service has begun to read: once at its start, and once for each lost connection."""
    logs = system.stack.logs_dir
    return sum((logs / f"{name}.log").read_text().count('"event": "reading_started"') for name in SERVICES)

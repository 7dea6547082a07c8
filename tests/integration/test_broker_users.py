"""What each user may do at the real broker, and what none of them may."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelAccessRefused

from events.catalogue import EVENT_TYPES, ORDER, SERVICES
from events.identity import with_defaults
from operations.broker_session import broker_session
from operations.dead_letters.dead_letter import DeadLetterFilter
from operations.dead_letters.queue import opened
from operations.errors import CommandFailed
from operations.event_tap import tap
from operations.publishing import send
from saga.clock import utc_now
from saga.messaging.topology import QUARANTINE_KEY, exchange_of, home_exchange
from saga.messaging.users import ADMINISTRATOR, OPERATOR, PUBLISHER
from saga.rabbitmq.declare import bind_events, declare_bound, declare_own
from saga.rabbitmq.publisher import missing_queues
from tests.support.broker import Broker
from tests.support.builders import every_event
from tests.support.services import TOPOLOGIES
from tests.support.users import (
    Act,
    at,
    bound,
    consumed,
    declared,
    exchange_declared,
    exchange_deleted,
    got,
    load_users,
    published,
    purged,
    queue_deleted,
    unbound,
)

REQUEST = "InventoryReservationRequested"
EVERYBODY = (*SERVICES, OPERATOR, PUBLISHER)
Case = tuple[str, str, Act]
"""Who, what in words, and the attempt."""


@pytest.fixture(scope="module")
def defined(module_broker: Broker) -> Broker:
    """A virtual host that has loaded the definitions."""
    return load_users(module_broker)


@pytest.fixture(scope="module")
async def logins(defined: Broker) -> AsyncIterator[Mapping[str, AbstractConnection]]:
    """A connection of each user."""
    async with AsyncExitStack() as stack:
        yield {
            user: await stack.enter_async_context(await aio_pika.connect(at(defined, user).url))
            for user in EVERYBODY
        }


def anybodys(user: str) -> Iterator[Case]:
    """What is forbidden to everybody."""
    for service in SERVICES:
        yield user, f"publishes to {service} through the default exchange", published("", service)
    for exchange in ("amq.topic", "amq.fanout", "amq.direct", "amq.headers"):
        yield user, f"publishes through {exchange}", published(exchange, REQUEST)
        yield user, f"deletes {exchange}", exchange_deleted(exchange)
    yield user, "declares a queue of any name", declared("anything")
    yield user, "declares an exchange of any name", exchange_declared("anything")


def anothers(user: str, service: str) -> Iterator[Case]:
    """What is forbidden with the parts of a service to everybody else."""
    topology = TOPOLOGIES[service]
    for queue in topology.queues:
        yield user, f"deletes the queue {queue}", queue_deleted(queue)
        if not (user == OPERATOR and queue == topology.dead_letter_queue):
            yield user, f"takes from {queue}", got(queue)
            yield user, f"reads {queue}", consumed(queue)
            yield user, f"empties {queue}", purged(queue)
        yield user, f"binds {queue} to a tap", bound(queue, exchange_of(ORDER), "#")
    for exchange in topology.exchanges:
        yield user, f"deletes the exchange {exchange}", exchange_deleted(exchange)
        starts_sagas = user == PUBLISHER and exchange == exchange_of(ORDER)
        by_hand = user == OPERATOR and exchange in (topology.exchange, topology.return_exchange)
        if not starts_sagas and not by_hand:
            yield user, f"publishes through {exchange}", published(exchange, REQUEST)
    for queue, exchange, key in topology.event_bindings:
        shared = user in SERVICES and (user, exchange, key) in TOPOLOGIES[user].event_bindings
        if not shared:
            yield user, f"takes {key} away from {queue}", unbound(queue, exchange, key)


def the_services(service: str) -> Iterator[Case]:
    """What else is forbidden to a service, also with what is its own."""
    own, reacts_to = exchange_of(service), TOPOLOGIES[service].reacts_to
    for kind, event in EVENT_TYPES.items():
        if event.published_by != service:
            yield service, f"publishes {kind} through its own exchange", published(own, f"{kind}.o-1")
            home = home_exchange(kind)
            yield service, f"publishes {kind} where it belongs", published(home, f"{kind}.o-1")
        if kind not in reacts_to:
            listened = bound(service, home_exchange(kind), f"{kind}.#")
            yield service, f"listens to {kind}", listened
    for exchange in map(exchange_of, SERVICES):
        yield service, f"taps all of {exchange}", bound(service, exchange, "#")
    yield service, "declares a tap", declared("tap-1")
    yield service, "declares a queue that the broker names", declared("", exclusive=True)


def the_publishers() -> Iterator[Case]:
    """What else is forbidden to who may start sagas."""
    for kind in EVENT_TYPES:
        if kind != REQUEST:
            yield PUBLISHER, f"publishes {kind}", published(home_exchange(kind), f"{kind}.o-1")
    yield PUBLISHER, "publishes a key that only begins so", published(exchange_of(ORDER), f"{REQUEST}s.o-1")
    yield PUBLISHER, "declares a tap", declared("tap-1")
    yield PUBLISHER, "declares a queue that the broker names", declared("", exclusive=True)


def forbidden() -> dict[str, Case]:
    """Return every attempt by its description."""
    cases = [case for user in EVERYBODY for case in anybodys(user)]
    for user in EVERYBODY:
        cases += [case for service in SERVICES if service != user for case in anothers(user, service)]
    cases += [case for service in SERVICES for case in the_services(service)]
    cases += the_publishers()
    return {f"{case[0]} {case[1]}": case for case in cases}


FORBIDDEN = forbidden()


@pytest.mark.parametrize("what", FORBIDDEN)
async def test_a_forbidden_act_is_refused(logins: Mapping[str, AbstractConnection], what: str) -> None:
    user, _, act = FORBIDDEN[what]
    channel = await logins[user].channel()
    with pytest.raises(ChannelAccessRefused, match="ACCESS_REFUSED"):
        async with asyncio.timeout(20):
            await act(channel)


@pytest.mark.parametrize("user", EVERYBODY)
async def test_no_user_publishes_in_the_name_of_another(defined: Broker, user: str) -> None:
    exchange = exchange_of(user if user in SERVICES else ORDER)
    kind = next(kind for kind, event in EVENT_TYPES.items() if home_exchange(kind) == exchange)
    kind = REQUEST if user in (OPERATOR, PUBLISHER) else kind
    async with await aio_pika.connect(at(defined, user).url) as connection:
        for other in (*EVERYBODY, ADMINISTRATOR):
            if other != user:
                with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed, match="user_id"):
                    await published(exchange, f"{kind}.o-1", user_id=other)(await connection.channel())


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_may_do_all_that_it_does(defined: Broker, service: str) -> None:
    topology = TOPOLOGIES[service]
    async with await aio_pika.connect(at(defined, service).url) as connection:
        await declare_own(connection, topology)
        assert await bind_events(connection, topology) == []
        await declare_bound(connection, topology)
        assert await missing_queues(connection, [service, *topology.required_queues]) == []
        channel = await connection.channel()
        for kind in topology.publishes:
            await published(topology.exchange, f"{kind}.o-1", user_id=service)(channel)
        for key in (
            QUARANTINE_KEY,
            *(topology.delay_key(attempt) for attempt in range(len(topology.delays))),
        ):
            await published(topology.retry_exchange, key, user_id=service)(channel)
        await published(topology.dead_letter_queue, REQUEST, user_id=service)(channel)
        for queue in (topology.queue, topology.quarantine_queue):
            await consumed(queue)(channel)


async def test_the_operator_taps_and_publishes_every_event(defined: Broker) -> None:
    url = at(defined, OPERATOR).url
    async with tap(url, "#") as seen, asyncio.timeout(60):
        for event in every_event():
            await send(url, with_defaults(event, utc_now()))
            assert (await anext(aiter(seen))).event.type == event.type


async def test_the_operator_lists_and_replays_dead_letters(defined: Broker) -> None:
    topology = TOPOLOGIES[ORDER]
    async with defined.connected() as client:
        await client.publish(topology.dead_letter_queue, "InventoryReserved", b"{}", message_id="letter-1")
    async with opened(at(defined, OPERATOR).url, topology) as queue, asyncio.timeout(60):
        async for letter in queue.letters(DeadLetterFilter(id="letter-1")):
            await queue.replay(letter)
    async with opened(at(defined, OPERATOR).url, topology) as queue, asyncio.timeout(60):
        assert [letter async for letter in queue.letters(DeadLetterFilter(id="letter-1"))] == []


async def test_the_publisher_starts_sagas_from_the_management_ui(defined: Broker) -> None:
    publisher = at(defined, PUBLISHER)
    async with await aio_pika.connect(publisher.url) as connection:
        channel = await connection.channel()
        for key in (REQUEST, f"{REQUEST}.o-1"):
            await published("order.events", key, user_id=PUBLISHER)(channel)
    assert publisher.publish_manually("order.events", REQUEST, "{}")
    with pytest.raises(httpx.HTTPStatusError):
        publisher.publish_manually("order.events", "PaymentRequested", "{}")


async def test_a_refused_command_says_so_in_one_line(defined: Broker) -> None:
    url = at(defined, PUBLISHER).url
    (payment,) = [event for event in every_event() if event.type == "PaymentRequested"]
    with pytest.raises(CommandFailed, match="the broker refuses"):
        await send(url, with_defaults(payment, utc_now()))
    with pytest.raises(CommandFailed, match="the broker refuses"):
        async with tap(url, "#"):
            pass
    async with defined.connected() as client:
        await client.publish(TOPOLOGIES[ORDER].dead_letter_queue, "InventoryReserved", b"{}")
    with pytest.raises(CommandFailed, match="the broker refuses"):
        async with opened(url, TOPOLOGIES[ORDER]) as queue:
            assert [letter async for letter in queue.letters(DeadLetterFilter())]


@pytest.mark.parametrize("user", EVERYBODY)
def test_no_user_grants_permissions(defined: Broker, user: str) -> None:
    assert at(defined, user).grants_itself_everything(user) in (401, 403)


async def test_a_login_needs_the_password(defined: Broker) -> None:
    for user in EVERYBODY:
        with pytest.raises(CommandFailed, match="refused"):
            async with broker_session(defined.as_user(user, "guessed").url):
                pass

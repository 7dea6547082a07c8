"""The process of a service: HTTP API, consumers and timers in one event loop, stopped in order."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from saga import logs
from saga.clock import utc_now
from saga.errors import Unavailable
from saga.http.app import protect
from saga.http.health import Health, add_health
from saga.messaging.consumer import BatchConsumer
from saga.rabbitmq.client import BrokerClient
from saga.reactions.application import Application, Surroundings
from saga.reactions.cache import PublishedEvents
from saga.settings import ServiceSettings, read_to_serve
from saga.spec import ServiceSpec, ServiceStore
from saga.timers.nudge import Nudge
from saga.timers.relay import Relay
from saga.timers.wake_ups import WakeUps

log = structlog.get_logger()

HTTP_DRAIN = 2
"""Seconds that open requests have at a stop, once the consumers have drained: most take milliseconds, and a
client that waits for an order to end repeats its request."""

CF = TypeVar("CF", bound=ServiceSettings)
ST = TypeVar("ST", bound=ServiceStore)


@dataclass(frozen=True, slots=True)
class Parts(Generic[ST]):
    """What every service consists of."""

    store: ST
    around: Surroundings
    nudge: Nudge
    backlog: Callable[[], Awaitable[int]]
    """Returns how many messages wait to be handled; raises `Unavailable` if the broker cannot be asked."""


Served = tuple[Application[Any, Any], FastAPI]
"""What handles the messages of a service, and what answers its HTTP requests."""
Assemble = Callable[[CF, Parts[ST]], AbstractAsyncContextManager[Served]]


@dataclass(frozen=True, slots=True)
class _Service:
    settings: ServiceSettings
    broker: BrokerClient
    store: ServiceStore
    relay: Relay
    wake_ups: WakeUps[Any]
    application: Application[Any, Any]
    app: FastAPI


def serve(spec: ServiceSpec[CF, ST], assemble: Assemble[CF, ST]) -> None:
    """Run a service, configured by the environment, until SIGTERM or SIGINT; then finish its open work.

    Raises:
        RuntimeError: a part of the service ended by itself; the others have been stopped in order.
    """
    settings = read_to_serve(spec.settings)
    logs.configure(spec.name, settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(spec, assemble, settings))


async def _serve(spec: ServiceSpec[CF, ST], assemble: Assemble[CF, ST], settings: CF) -> None:
    broker = BrokerClient(
        settings.broker,
        spec.topology(settings.retry_delays),
        prefetch=settings.prefetch,
        publish_timeout=settings.publish_timeout,
        drain_timeout=settings.drain_timeout,
    )
    patience = settings.patience()
    with spec.connected(settings, settings.mongodb) as store:
        published = PublishedEvents()
        relay = Relay(spec.name, broker, published)
        nudge = Nudge(spec.name, broker, store, utc_now, patience)
        around = Surroundings(utc_now, relay.hand_over, published, patience)
        async with assemble(settings, Parts(store, around, nudge, broker.backlog)) as (application, app):
            wake_ups = WakeUps(application, broker, relay, nudge, utc_now)
            await _run(_Service(settings, broker, store, relay, wake_ups, application, app))


async def _run(service: _Service) -> None:
    health = Health(service.broker, service.store.ping)
    add_health(service.app, health)
    prepared = asyncio.Event()
    protect(service.app, service.settings.access(), prepared)
    server = _Server(
        uvicorn.Config(
            service.app,
            host=service.settings.host,
            port=service.settings.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=HTTP_DRAIN,
        )
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve())
    reading = asyncio.create_task(_read(service, prepared, stop))
    clocks = [
        asyncio.create_task(service.relay.run()),
        asyncio.create_task(service.wake_ups.run(service.settings.sweep_every)),
        *(asyncio.create_task(chore()) for chore in service.store.chores),
    ]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, reading, *clocks, stopping], return_when=asyncio.FIRST_COMPLETED)
    requested = stop.is_set()
    stop.set()
    log.info("draining")
    health.draining = True
    # With a limit: a frame for a connection that dies at this moment would wait without end.
    closing = asyncio.create_task(service.broker.stop())
    await asyncio.wait([closing], timeout=service.settings.drain_timeout)
    await asyncio.wait([reading], timeout=service.settings.drain_timeout)
    server.should_exit = True
    await asyncio.wait([serving])
    others = [closing, reading, *clocks, stopping]
    for task in others:
        task.cancel()
    results = await asyncio.gather(serving, *others, return_exceptions=True)
    log.info("stopped")
    for result in results:
        if isinstance(result, Exception):
            raise result
    if not requested:
        raise RuntimeError("a part of the service ended by itself")


async def _read(service: _Service, prepared: asyncio.Event, stop: asyncio.Event) -> None:
    if not await _prepare(service, stop):
        return
    prepared.set()
    topology = service.broker.topology
    known = service.broker.user == topology.service
    if not known:
        log.warning(
            "publishers_unchecked",
            user=service.broker.user,
            reason="the publisher of a message is known only if each service logs in as a user of its own, "
            f"this one as {topology.service}",
        )
    consumers = [
        BatchConsumer(
            topology,
            service.application.handle,
            service.application.available,
            batch_limit=service.settings.batch_limit,
            quarantined=quarantined,
            check_publisher=known,
        )
        for quarantined in (False, True)
    ]
    await service.broker.run(consumers)


async def _prepare(service: _Service, stop: asyncio.Event) -> bool:
    while not stop.is_set():
        try:
            await service.store.prepare()
            return True
        except Unavailable as why:
            log.warning("database_unavailable", reason=str(why))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await stop.wait()
    return False


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers: the consumers have to stop before the server does."""
        yield

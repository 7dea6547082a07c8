"""The process of a service: its HTTP API, its readers and its clocks in one event loop, stopped in order."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog
import uvicorn
from fastapi import FastAPI

from saga.errors import Unavailable
from saga.http.app import protect
from saga.http.health import Health, add_health
from saga.messaging.consumer import BatchConsumer
from saga.messaging.results import Handler
from saga.messaging.topology import Topology
from saga.rabbitmq.client import BrokerClient
from saga.reactions.store import Outbox
from saga.settings import ServiceSettings
from saga.timers.relay import Relay

log = structlog.get_logger()

HTTP_DRAIN = 2
"""Seconds that requests in hand have at a stop, after the readers have drained; most take milliseconds, and
who waits for an order to end asks again."""

Sweep = Callable[[], Awaitable[None]]


@dataclass
class Service:
    """The parts of one service.

    `prepare` makes the database ready, `available` raises `Unavailable` while messages cannot be handled,
    `sweeps` are what clocks set off.
    """

    settings: ServiceSettings
    app: FastAPI
    rabbit: BrokerClient
    handle: Handler
    available: Callable[[], Awaitable[None]]
    outbox: Outbox
    relay: Relay
    prepare: Callable[[], Awaitable[None]]
    sweeps: Sequence[Sweep] = ()


def broker(settings: ServiceSettings, topology: Topology) -> BrokerClient:
    """Return the link to the broker that the settings speak of."""
    return BrokerClient(
        settings.broker,
        topology,
        prefetch=settings.prefetch,
        publish_timeout=settings.publish_timeout,
        drain_timeout=settings.drain_timeout,
    )


async def run(service: Service) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in hand and return.

    Raises:
        RuntimeError: a part of the service has ended unasked; the others have been stopped in order.
    """
    health = Health(service.rabbit, service.outbox)
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
    clocks = [asyncio.create_task(_every(service.settings.sweep_every, sweep)) for sweep in service.sweeps]
    clocks.append(asyncio.create_task(service.relay.run()))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, reading, *clocks, stopping], return_when=asyncio.FIRST_COMPLETED)
    asked = stop.is_set()
    stop.set()
    log.info("draining")
    health.draining = True
    # A frame that waits for room on a connection that dies at this moment would wait for ever.
    closing = asyncio.create_task(service.rabbit.stop())
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
    if not asked:
        raise RuntimeError("a part of the service has ended unasked")


async def _read(service: Service, prepared: asyncio.Event, stop: asyncio.Event) -> None:
    if not await _prepare(service, stop):
        return
    prepared.set()
    topology = service.rabbit.topology
    known = service.rabbit.user == topology.service
    if not known:
        log.warning(
            "senders_unchecked",
            user=service.rabbit.user,
            reason=f"only where each service is a user of its own, this one {topology.service}, is it known "
            "who published",
        )
    consumers = [
        BatchConsumer(
            topology,
            service.handle,
            service.available,
            batch_limit=service.settings.batch_limit,
            quarantined=quarantined,
            check_publisher=known,
        )
        for quarantined in (False, True)
    ]
    await service.rabbit.run(consumers)


async def _prepare(service: Service, stop: asyncio.Event) -> bool:
    while not stop.is_set():
        try:
            await service.prepare()
            return True
        except Unavailable as why:
            log.warning("waiting", reason=str(why))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await stop.wait()
    return False


async def _every(seconds: float, sweep: Sweep) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await sweep()
        except Unavailable as why:
            log.warning("sweep_waits", reason=str(why))
        except Exception:
            log.exception("sweep_failed")


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to us: the readers have to stop before the server does."""
        yield

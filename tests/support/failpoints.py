"""A service's own program with failpoints: it kills itself at a named point, or its clock runs ahead.

    python -m tests.support.failpoints order_service

The program is the one of `python -m order_service`, with the methods below wrapped before it starts, so that
the product knows nothing of it. From the environment:

    SAGA_FAILPOINT=NAME[:NTH]   SIGKILL at a point of `POINTS`, the first or the nth time it is reached
    SAGA_CLOCK_AHEAD=SECONDS    the service believes that it is so much later

Anything else in them ends the program with 2, before it has begun.
"""

import asyncio
import functools
import os
import runpy
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from pymongo.client_session import ClientSession

import saga.clock
from payment_service.providers.simulated import SimulatedProvider
from saga.messaging.consumer import BatchConsumer
from saga.messaging.message import Message
from saga.messaging.publisher import Publisher
from saga.messaging.subscription import Subscription
from saga.mongodb.ledger import Ledger
from saga.rabbitmq.client import BrokerClient
from saga.rabbitmq.subscription import RabbitSubscription

FAILPOINT = "SAGA_FAILPOINT"
CLOCK_AHEAD = "SAGA_CLOCK_AHEAD"

log = structlog.get_logger()

Method = Callable[..., Any]


class Reply:
    """The way out of those who read messages; the relay has another."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish what follows from a batch, which has been saved by now and is acknowledged afterwards."""
        await self._publisher.send(messages)

    async def check(self) -> None:
        """See `saga.messaging.publisher.Publisher`."""
        await self._publisher.check()


@dataclass(frozen=True)
class Point:
    """Before or after a method, or before one that blocks; a call with nothing to send or to acknowledge does
    not count."""

    owner: type
    method: str
    when: Literal["before", "after", "blocking"]


POINTS = {
    "announced": Point(Ledger, "record", "after"),
    "saved": Point(Reply, "send", "before"),
    "published": Point(Reply, "send", "after"),
    "acking": Point(RabbitSubscription, "ack", "before"),
    "charging": Point(SimulatedProvider, "charge", "before"),
    "charged": Point(SimulatedProvider, "charge", "after"),
    "committing": Point(ClientSession, "commit_transaction", "blocking"),
    "relaying": Point(BrokerClient, "send", "before"),
    "relayed": Point(BrokerClient, "send", "after"),
    "draining": Point(BrokerClient, "stop", "after"),
}
"""Every point at which a service can be made to die:

- `announced`: a batch is announced to the ledger, and not saved.
- `saved`: a batch is saved, nothing of it published. `published`: all of it published, nothing acknowledged.
- `acking`: a batch is done, but for its acknowledgement.
- `charging`, `charged`: before and after the provider has decided.
- `committing`: a transaction has written everything.
- `relaying`, `relayed`: before the relay sends, and after it has, before it forgets.
- `draining`: reading has been stopped by a SIGTERM, which the service sends to itself with a batch in hand
  that is saved and not published.
"""


def fail_at(failpoint: str) -> None:
    """Make this process kill itself at a point, `NAME` or `NAME:NTH`.

    Raises:
        ValueError: there is no such point.
    """
    name, _, nth = failpoint.partition(":")
    if name not in POINTS or not (nth or "1").isdecimal() or nth == "0":
        raise ValueError(f"{failpoint!r} is not NAME[:NTH] with one of the names {', '.join(POINTS)}")
    point, count = POINTS[name], _Count(int(nth or 1))
    _replace(BatchConsumer, "run", _replying)
    if name == "draining":
        _replace(Reply, "send", functools.partial(_terminated_at, count))
        count = _Count(1)
    rig = {"before": _killed_before, "after": _killed_after, "blocking": _killed_before_blocking}[point.when]
    _replace(point.owner, point.method, functools.partial(rig, name, count))


def set_ahead(seconds: float) -> None:
    """Set the clock of this process ahead."""
    ahead, now = timedelta(seconds=seconds), saga.clock.utc_now

    def later() -> datetime:
        return now() + ahead

    saga.clock.utc_now = later


class _Count:
    def __init__(self, nth: int) -> None:
        self._left = nth

    def down(self) -> bool:
        """Tell whether this is the time."""
        self._left -= 1
        return self._left == 0


def _killed_before(name: str, count: _Count, method: Method) -> Method:
    @functools.wraps(method)
    async def with_failpoint(self: object, *arguments: Any) -> Any:
        if all(arguments) and count.down():
            _die(name)
        return await method(self, *arguments)

    return with_failpoint


def _killed_before_blocking(name: str, count: _Count, method: Method) -> Method:
    @functools.wraps(method)
    def with_failpoint(self: object, *arguments: Any) -> object:
        if count.down():
            _die(name)
        return method(self, *arguments)

    return with_failpoint


def _killed_after(name: str, count: _Count, method: Method) -> Method:
    @functools.wraps(method)
    async def with_failpoint(self: object, *arguments: Any) -> Any:
        result = await method(self, *arguments)
        if all(arguments) and count.down():
            _die(name)
        return result

    return with_failpoint


def _terminated_at(count: _Count, method: Method) -> Method:
    @functools.wraps(method)
    async def with_failpoint(self: object, *arguments: Any) -> Any:
        if all(arguments) and count.down():
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        return await method(self, *arguments)

    return with_failpoint


def _replying(run: Method) -> Method:
    @functools.wraps(run)
    async def with_failpoint(self: BatchConsumer, subscription: Subscription, publisher: Publisher) -> None:
        await run(self, subscription, Reply(publisher))

    return with_failpoint


def _die(name: str) -> None:
    log.warning("failpoint_reached", point=name)
    os.kill(os.getpid(), signal.SIGKILL)


def _replace(owner: type, method: str, rig: Callable[[Method], Method]) -> None:
    setattr(owner, method, rig(getattr(owner, method)))


def main(service: str) -> None:
    """Rig this process as the environment says, and become the service."""
    try:
        if failpoint := os.environ.get(FAILPOINT):
            fail_at(failpoint)
        if ahead := os.environ.get(CLOCK_AHEAD):
            set_ahead(float(ahead))
    except ValueError as error:
        sys.stderr.write(f"{FAILPOINT}, {CLOCK_AHEAD}: {error}\n")
        sys.exit(2)
    runpy.run_module(service, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""The users of the services: customers, publishers of events, and the person who settles refunds."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, TypeVar

from events.catalogue import ORDER, PAYMENT, InventoryReservationRequested
from events.values import Item
from saga.errors import OutOfOrder, Refused, SagaError, Unavailable
from saga.messaging.message import Message
from saga.messaging.topology import exchange_of
from verification.simulation.adversary import Adversary
from verification.simulation.services import Environment, Replica

T = TypeVar("T")

PRODUCTS = ("tea", "coffee", "honey")
ATTEMPTS = 6
LOOKS = 30
HOLDS = (1, 2, 3, 5, 8, 20, 20, 60, 60, None)
LONG_HOLDS = (200, 400, None)
"""Where the broker may lose all messages: a saga that expires before its first nudge may stay unknown."""


class HungUp(SagaError, ConnectionError):
    """The process died during the request."""


class Clients:
    """The users; `replica` returns a running replica of a service, if there is one.

    `wanted`: the products that they order.
    """

    def __init__(
        self, environment: Environment, replica: Callable[[str], Replica | None], wanted: Sequence[str]
    ) -> None:
        self._environment = environment
        self._adversary: Adversary = environment.adversary
        self._replica = replica
        self.wanted = wanted
        self.promised: set[str] = set()
        """Orders that a customer was promised, or whose request the broker has accepted."""

    def request(self, order_id: str) -> InventoryReservationRequested:
        """Draw an order."""
        dice = self._adversary.dice
        items = tuple(
            Item(product_id=product, quantity=dice.randint(1, 4))
            for product in dice.sample(self.wanted, min(len(self.wanted), dice.choice((1, 1, 2))))
        )
        return InventoryReservationRequested(
            order_id=order_id,
            user_id=f"u-{dice.randint(1, 3)}",
            items=items,
            total_amount=Decimal(dice.randint(100, 9999)) / 100,
            expires_in=dice.choice(LONG_HOLDS if self._environment.intervals.nudge else HOLDS),
        )

    async def place(self, request: InventoryReservationRequested, at: float) -> None:
        """Place an order over HTTP, again if there is no answer."""
        await asyncio.sleep(at)
        for _ in range(ATTEMPTS):
            with suppress(Unavailable, HungUp):
                await self.ask(ORDER, lambda replica: replica.orders.place(request))
                self.note(f"{request.order_id} is accepted")
                self.promised.add(request.order_id)
                return
            await asyncio.sleep(self._adversary.dice.uniform(0.1, 2))

    async def cancel(self, order_id: str, at: float, *, once_paid: bool = False) -> None:
        """Cancel an order, if that is still possible; or watch it for a while, and cancel once it is paid."""
        await asyncio.sleep(at)
        for _ in range(LOOKS if once_paid else 0):
            row = self._environment.tables[ORDER].get(order_id)
            if row and row.state and row.state.status == "paid":
                break
            await asyncio.sleep(0.1)
        for _ in range(ATTEMPTS):
            self.note(f"cancels {order_id}")
            with suppress(Unavailable, HungUp):
                await self.ask(ORDER, lambda replica: self._cancel(replica, order_id))
                return
            await asyncio.sleep(self._adversary.dice.uniform(0.1, 2))

    async def publish_manually(self, request: InventoryReservationRequested, at: float) -> None:
        """Publish a request as in the broker's management UI, with an event id or without."""
        await asyncio.sleep(at)
        dice = self._adversary.dice
        fields = request.model_dump(mode="json", by_alias=True, exclude_none=True)
        if dice.random() < 0.5:
            fields["eventId"] = f"hand-{dice.randrange(10**6)}"
        key = request.type if dice.random() < 0.5 else f"{request.type}.{request.order_id}"
        message = Message(exchange_of(ORDER), key, json.dumps(fields).encode())
        self.note(f"publishes manually {message.body.decode()}")
        for _ in range(dice.choice((1, 1, 2))):
            if self._environment.broker.publish(message):
                self.promised.add(request.order_id)

    async def settle(self, order_id: str, at: float) -> None:
        """Have a refused refund tried again."""
        await asyncio.sleep(at)
        for _ in range(ATTEMPTS):
            with suppress(Unavailable, HungUp, OutOfOrder, Refused):
                await self.ask(PAYMENT, lambda replica: replica.payments.refund_directly(order_id))
                self.note(f"has {order_id} refunded")
                return
            await asyncio.sleep(self._adversary.dice.uniform(1, 9))

    async def _cancel(self, replica: Replica, order_id: str) -> None:
        order = await replica.orders.store.get(order_id)
        if order is not None:
            with suppress(Refused):
                await replica.orders.cancel(order)

    async def ask(self, service: str, question: Callable[[Replica], Awaitable[T]]) -> T:
        """Send a request to a replica of a service.

        Raises:
            HungUp: there is none, or it died before it answered.
        """
        replica = self._replica(service)
        if replica is None:
            raise HungUp
        answer = asyncio.ensure_future(question(replica))
        waiting: list[asyncio.Future[Any]] = [answer, replica.process.died]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise HungUp
        return answer.result()

    def note(self, what: str) -> None:
        """Add a line to the timeline."""
        if self._adversary.trace.on:
            self._adversary.trace.add(asyncio.get_running_loop().time(), "client", what)

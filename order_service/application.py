"""Runs the reactions of the order service: for events, customers and deadlines."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from weakref import WeakValueDictionary

from events.catalogue import ORDER, InventoryReservationRequested
from order_service.order import Order
from order_service.reactions import CANCEL, MISS_DEADLINE, PLACE, REACTIONS
from saga.reactions.application import Application, Surroundings
from saga.reactions.step import Outcome
from saga.reactions.store import AggregateStore

POLL_INTERVAL = 2.0
"""Seconds between two looks of a waiting request at the database, since another replica may end the order."""


class OrderApplication(Application[Order, datetime]):
    """The order service without HTTP API and broker."""

    def __init__(self, store: AggregateStore[Order, datetime], around: Surroundings) -> None:
        super().__init__(ORDER, REACTIONS, store, around)
        self._ended: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    async def place(self, request: InventoryReservationRequested) -> Order:
        """Place an order; return the one with this id if it exists."""
        return await self.execute(PLACE, request.order_id, request.order_id, request)

    async def cancel(self, order: Order) -> Order:
        """Cancel an order.

        Raises:
            Refused: it is too late.
        """
        return await self.execute(CANCEL, order.order_id, order.correlation_id)

    async def act_on_time(self, due: Sequence[Order]) -> None:
        """Give up on the orders whose deadline has passed."""
        await self.execute_all(MISS_DEADLINE, due)

    async def ended(self, order_id: str, within: float) -> Order | None:
        """Return the order once it has ended, or after `within` seconds."""
        clock = asyncio.get_running_loop().time
        end = clock() + within
        ended = self._ended.setdefault(order_id, asyncio.Event())
        while True:
            order = await self.store.get(order_id)
            remaining = end - clock()
            if order is None or order.terminal or remaining <= 0:
                return order
            with suppress(TimeoutError):
                async with asyncio.timeout(min(POLL_INTERVAL, remaining)):
                    await ended.wait()

    def on_outcome(self, outcome: Outcome[Order]) -> None:
        """Notify the requests that wait for an order that has ended."""
        order = outcome.state
        if order and order.terminal and (ended := self._ended.get(order.order_id)):
            ended.set()

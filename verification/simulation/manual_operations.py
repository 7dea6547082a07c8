"""Who reaches into the services by hand: over HTTP, at the broker, and as a provider that thinks again."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import count

from events.catalogue import DEFAULT_CURRENCY, INVENTORY, ORDER, PAYMENT, PaymentRequested
from events.values import Item
from inventory_service.reservation import Hold
from inventory_service.stock import StockKey
from payment_service.providers.base import Charge, ChargeAnswer, Notification, Refund
from saga.errors import OutOfOrder, Refused, Unavailable
from saga.messaging.message import Message
from saga.messaging.topology import exchange_of
from verification.simulation.adversary import LONG
from verification.simulation.clients import LONG_HOLDS, TRIES, Clients
from verification.simulation.services import Environment, Replica

POISON = (
    (ORDER, "InventoryReservationRequested", "{{not JSON, {tag}"),
    (ORDER, "PaymentRequested.o-1", '{{"type":"PaymentRequested","orderId":"o-1","userId":"{tag}"}}'),
    (ORDER, "InventoryReservationRequested.o-1", '{{"type":"PaymentRequested","tag":"{tag}"}}'),
    (INVENTORY, "InventoryReserved", '{{"type":"OrderCreated","orderId":"o-1","tag":"{tag}"}}'),
    (PAYMENT, "PaymentCompleted.o-1", '["{tag}"]'),
    (PAYMENT, "PaymentFailed", "\x00{tag}"),
)
"""Whose exchange, the routing key, and a body that no reader of it understands."""


class ManualOperations:
    """Everybody who reaches in; each comes at a moment of their own."""

    def __init__(self, outside: Environment, people: Clients) -> None:
        self._outside = outside
        self._people = people
        self._dice = outside.adversary.dice

    async def restock(self, at: float) -> None:
        """Set what is available somewhere, in some cases only if nobody else has meanwhile."""
        await asyncio.sleep(at)
        place = self._dice.choice(list(self._outside.shelves.levels))
        units, guarded = self._dice.randint(0, 9), self._dice.random() < 0.5
        await self._insist(INVENTORY, lambda replica: self._restock(replica, place, units, guarded))

    async def hold(self, order_id: str, at: float) -> None:
        """Hold stock; with a price that starts a saga. Then confirm it, release it, or leave it."""
        await asyncio.sleep(at)
        dice = self._dice
        price = Decimal(dice.randint(100, 9999)) / 100 if dice.random() < 0.4 else None
        hold = Hold(
            order_id=order_id,
            user_id="u-1",
            items=(Item(product_id=self._people.wanted[0], quantity=dice.randint(1, 3)),),
            user_location=None,
            total_amount=price,
            currency=DEFAULT_CURRENCY,
            expires_in=dice.choice(LONG_HOLDS if self._outside.pace.nudge else (2, 5, 10)),
            payment_method=None,
        )
        if not await self._insist(INVENTORY, lambda replica: replica.inventory.hold(hold)):
            return
        if price is not None:
            self._people.promised.add(order_id)
        await asyncio.sleep(dice.uniform(0, 6))
        change = dice.choice(("confirm", "release", None))
        if change == "confirm":
            await self._insist(INVENTORY, lambda replica: replica.inventory.confirm(order_id))
        elif change == "release":
            await self._insist(INVENTORY, lambda replica: replica.inventory.release(order_id))

    async def pay(self, order_id: str, at: float) -> None:
        """Charge a customer, and perhaps pay back."""
        await asyncio.sleep(at)
        dice = self._dice
        request = PaymentRequested(
            order_id=order_id,
            user_id="u-1",
            amount=Decimal(dice.randint(100, 9999)) / 100,
            currency=DEFAULT_CURRENCY,
            idempotency_key=f"by-hand-{order_id}",
        )
        self._outside.paid_directly.add(order_id)
        await self._insist(PAYMENT, lambda replica: replica.payments.charge_directly(request))
        await asyncio.sleep(dice.uniform(0, 6))
        if dice.random() < 0.5:
            await self._insist(PAYMENT, lambda replica: replica.payments.refund_directly(order_id))

    async def poison(self, number: int, at: float) -> None:
        """Publish what nobody can handle."""
        await asyncio.sleep(at)
        tag = f"poison-{number}."
        service, key, text = self._dice.choice(POISON)
        self._publish(service, key, text.format(tag=tag).encode())
        for queue in self._outside.broker.takers(exchange_of(service), key):
            self._outside.to_be_put_away.add((f"{queue}.dead", tag.encode()))
        self._outside.adversary.count("poison")

    async def publish_a_killer(self, order_id: str, at: float) -> None:
        """Publish a request that kills each process of a service that handles it."""
        await asyncio.sleep(at)
        request = self._people.request(order_id)
        service = self._dice.choice((ORDER, INVENTORY))
        fields = request.model_dump(mode="json", by_alias=True, exclude_none=True)
        fields["eventId"] = f"killer-{order_id}"
        self._outside.deadly[fields["eventId"]] = service
        tag = f'"eventId":"{fields["eventId"]}"'.encode()
        self._outside.to_be_put_away.add((f"{service}.dead", tag))
        self._publish(ORDER, request.type, json.dumps(fields, separators=(",", ":")).encode())
        self._people.promised.add(order_id)
        self._outside.adversary.count("killer")

    async def approve_late(self, charge: Charge, after: float) -> None:
        """Approve what was declined, and say so, once or twice, until somebody has heard it."""
        await asyncio.sleep(after)
        answer = self._outside.ledger.approve(charge)
        for _ in range(self._dice.choice((1, 2))):
            await self._insist(PAYMENT, lambda replica: self._answer(replica, charge, answer), for_ever=True)

    async def decide_later(self, asked: Charge | Refund, reference: str) -> None:
        """Decide what was put off, at once or much later, and give notice of it as webhooks do: too early,
        late, several times or never, and of what nobody here has heard of."""
        dice = self._dice
        wait = dice.choice((0, 0.01, 1, 12)) * dice.random()
        if self._outside.adversary.patient:
            self._outside.adversary.patient, wait = False, LONG
        key = asked.key if dice.random() < 0.95 else f"{asked.key}9"
        times = [
            dice.choice((0.0, wait, wait + 2.0)) * dice.random() for _ in range(dice.choice((0, 0, 1, 2)))
        ]
        if times:
            times.append(wait)
        notices = (self._schedule_notification(Notification(key, reference), after) for after in times)
        await asyncio.gather(self._decide(asked, reference, wait), *notices)

    async def _decide(self, asked: Charge | Refund, reference: str, after: float) -> None:
        await asyncio.sleep(after)
        answer = self._outside.ledger.decide(asked, reference)
        self._people.note(f"the provider decides on {asked.key}: {answer}")

    async def _schedule_notification(self, notice: Notification, after: float) -> None:
        await asyncio.sleep(after)
        self._outside.adversary.count("notice")
        await self._insist(PAYMENT, lambda replica: replica.payments.handle_notification(notice))

    async def _answer(self, replica: Replica, charge: Charge, answer: ChargeAnswer) -> None:
        payment = await replica.payments.store.get(charge.key.removeprefix("order-"))
        if payment is None:
            raise LookupError(charge.key)
        asked = payment.model_copy(update={"status": "charging", "refund_attempt": 0})
        await replica.payments.save_answer(asked, answer)

    async def _restock(self, replica: Replica, place: StockKey, units: int, guarded: bool) -> None:
        warehouse, product = place
        version = None
        if guarded:
            levels = await replica.stock.levels([product])
            version = next(level.version for level in levels if level.key == place)
        await replica.stock.set_level(warehouse, product, units, version)

    async def _insist(
        self, service: str, question: Callable[[Replica], Awaitable[object]], *, for_ever: bool = False
    ) -> bool:
        """Ask until somebody answers; return whether the answer was not a refusal."""
        for _ in count() if for_ever else range(TRIES):
            try:
                await self._people.ask(service, question)
            except (OutOfOrder, Refused):
                return False
            except (Unavailable, ConnectionError):
                await asyncio.sleep(self._dice.uniform(0.1, 2))
            else:
                return True
        return False

    def _publish(self, service: str, key: str, body: bytes) -> None:
        self._people.note(f"publishes by hand {key} {body!r}")
        self._outside.broker.publish(Message(exchange_of(service), key, body))

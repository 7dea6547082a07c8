"""What is done directly or manually: over HTTP, at the broker, and by a provider that changes its mind."""

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
from verification.simulation.adversary import LONG_DELAY
from verification.simulation.clients import ATTEMPTS, LONG_HOLDS, Clients
from verification.simulation.services import Environment, Replica

UNDECODABLE = (
    (ORDER, "InventoryReservationRequested", "{{not JSON, {tag}"),
    (ORDER, "PaymentRequested.o-1", '{{"type":"PaymentRequested","orderId":"o-1","userId":"{tag}"}}'),
    (ORDER, "InventoryReservationRequested.o-1", '{{"type":"PaymentRequested","tag":"{tag}"}}'),
    (INVENTORY, "InventoryReserved", '{{"type":"OrderCreated","orderId":"o-1","tag":"{tag}"}}'),
    (PAYMENT, "PaymentCompleted.o-1", '["{tag}"]'),
    (PAYMENT, "PaymentFailed", "\x00{tag}"),
)
"""The service of the exchange, the routing key, and a body that its consumers cannot decode."""


class ManualOperations:
    """Operations past the saga, each at its own moment."""

    def __init__(self, environment: Environment, clients: Clients) -> None:
        self._environment = environment
        self._clients = clients
        self._dice = environment.adversary.dice

    async def restock(self, at: float) -> None:
        """Set the available units of a level, in some cases only if its version is unchanged."""
        await asyncio.sleep(at)
        key = self._dice.choice(list(self._environment.stock_table.levels))
        units, guarded = self._dice.randint(0, 9), self._dice.random() < 0.5
        await self._try_until_answered(INVENTORY, lambda replica: self._restock(replica, key, units, guarded))

    async def hold(self, order_id: str, at: float) -> None:
        """Hold stock, with a price if it shall start a saga; then confirm it, release it, or leave it."""
        await asyncio.sleep(at)
        dice = self._dice
        price = Decimal(dice.randint(100, 9999)) / 100 if dice.random() < 0.4 else None
        hold = Hold(
            order_id=order_id,
            user_id="u-1",
            items=(Item(product_id=self._clients.wanted[0], quantity=dice.randint(1, 3)),),
            user_location=None,
            total_amount=price,
            currency=DEFAULT_CURRENCY,
            expires_in=dice.choice(LONG_HOLDS if self._environment.intervals.nudge else (2, 5, 10)),
            payment_method=None,
        )
        if not await self._try_until_answered(INVENTORY, lambda replica: replica.inventory.hold(hold)):
            return
        if price is not None:
            self._clients.promised.add(order_id)
        await asyncio.sleep(dice.uniform(0, 6))
        change = dice.choice(("confirm", "release", None))
        if change == "confirm":
            await self._try_until_answered(INVENTORY, lambda replica: replica.inventory.confirm(order_id))
        elif change == "release":
            await self._try_until_answered(INVENTORY, lambda replica: replica.inventory.release(order_id))

    async def pay(self, order_id: str, at: float) -> None:
        """Charge a customer, and perhaps pay back."""
        await asyncio.sleep(at)
        dice = self._dice
        request = PaymentRequested(
            order_id=order_id,
            user_id="u-1",
            amount=Decimal(dice.randint(100, 9999)) / 100,
            currency=DEFAULT_CURRENCY,
            idempotency_key=f"direct-{order_id}",
        )
        self._environment.paid_directly.add(order_id)
        await self._try_until_answered(PAYMENT, lambda replica: replica.payments.charge_directly(request))
        await asyncio.sleep(dice.uniform(0, 6))
        if dice.random() < 0.5:
            await self._try_until_answered(
                PAYMENT, lambda replica: replica.payments.refund_directly(order_id)
            )

    async def publish_undecodable(self, number: int, at: float) -> None:
        """Publish a message that its consumers cannot decode."""
        await asyncio.sleep(at)
        tag = f"poison-{number}."
        service, key, text = self._dice.choice(UNDECODABLE)
        self._publish(service, key, text.format(tag=tag).encode())
        for queue in self._environment.broker.queues_for(exchange_of(service), key):
            self._environment.expected_dead_letters.add((f"{queue}.dead", tag.encode()))
        self._environment.adversary.count("undecodable")

    async def publish_poison(self, order_id: str, at: float) -> None:
        """Publish a request that crashes each process of one service that handles it."""
        await asyncio.sleep(at)
        request = self._clients.request(order_id)
        service = self._dice.choice((ORDER, INVENTORY))
        fields = request.model_dump(mode="json", by_alias=True, exclude_none=True)
        fields["eventId"] = f"poison-{order_id}"
        self._environment.poison_events[fields["eventId"]] = service
        tag = f'"eventId":"{fields["eventId"]}"'.encode()
        self._environment.expected_dead_letters.add((f"{service}.dead", tag))
        self._publish(ORDER, request.type, json.dumps(fields, separators=(",", ":")).encode())
        self._clients.promised.add(order_id)
        self._environment.adversary.count("poison")

    async def approve_late(self, charge: Charge, after: float) -> None:
        """Approve a declined charge, and answer once or twice, each until the service takes it."""
        await asyncio.sleep(after)
        answer = self._environment.ledger.approve(charge)
        for _ in range(self._dice.choice((1, 2))):
            await self._try_until_answered(
                PAYMENT, lambda replica: self._answer(replica, charge, answer), endlessly=True
            )

    async def decide_later(self, asked: Charge | Refund, reference: str) -> None:
        """Decide on a pending request, at once or much later, and notify the service as webhooks do: too
        early, late, several times or never, and about unknown requests."""
        dice = self._dice
        wait = dice.choice((0, 0.01, 1, 12)) * dice.random()
        if self._environment.adversary.one_long_delay:
            self._environment.adversary.one_long_delay, wait = False, LONG_DELAY
        key = asked.key if dice.random() < 0.95 else f"{asked.key}9"
        times = [
            dice.choice((0.0, wait, wait + 2.0)) * dice.random() for _ in range(dice.choice((0, 0, 1, 2)))
        ]
        if times:
            times.append(wait)
        notifications = (self._schedule_notification(Notification(key, reference), after) for after in times)
        await asyncio.gather(self._decide(asked, reference, wait), *notifications)

    async def _decide(self, asked: Charge | Refund, reference: str, after: float) -> None:
        await asyncio.sleep(after)
        answer = self._environment.ledger.decide(asked, reference)
        self._clients.note(f"the provider decides on {asked.key}: {answer}")

    async def _schedule_notification(self, notification: Notification, after: float) -> None:
        await asyncio.sleep(after)
        self._environment.adversary.count("notification")
        await self._try_until_answered(
            PAYMENT, lambda replica: replica.payments.handle_notification(notification)
        )

    async def _answer(self, replica: Replica, charge: Charge, answer: ChargeAnswer) -> None:
        payment = await replica.payments.store.get(charge.key.removeprefix("order-"))
        if payment is None:
            raise LookupError(charge.key)
        asked = payment.model_copy(update={"status": "charging", "refund_attempt": 0})
        await replica.payments.save_answer(asked, answer)

    async def _restock(self, replica: Replica, key: StockKey, units: int, guarded: bool) -> None:
        warehouse, product = key
        version = None
        if guarded:
            levels = await replica.stock.levels([product])
            version = next(level.version for level in levels if level.key == key)
        await replica.stock.set_level(warehouse, product, units, version)

    async def _try_until_answered(
        self, service: str, question: Callable[[Replica], Awaitable[object]], *, endlessly: bool = False
    ) -> bool:
        """Try until a replica answers; return whether it did not refuse."""
        for _ in count() if endlessly else range(ATTEMPTS):
            try:
                await self._clients.ask(service, question)
            except (OutOfOrder, Refused):
                return False
            except (Unavailable, ConnectionError):
                await asyncio.sleep(self._dice.uniform(0.1, 2))
            else:
                return True
        return False

    def _publish(self, service: str, key: str, body: bytes) -> None:
        self._clients.note(f"publishes manually {key} {body!r}")
        self._environment.broker.publish(Message(exchange_of(service), key, body))

"""Calls to the payment provider that no message makes, by replicas on a real broker and database."""

import asyncio

import pytest

from events.catalogue import ORDER, Event, PaymentRefundRequested, PaymentRequested
from payment_service.providers.base import (
    Answer,
    Approved,
    Charge,
    NoAnswer,
    ProviderDown,
    Refund,
    Refunded,
    RefundRefused,
)
from payment_service.reactions import FIRST_RETRY_AFTER
from saga.errors import Unavailable
from saga.messaging.results import Deferred, Handled
from saga.rabbitmq.client import BrokerClient
from tests.integration.timers.driver import RELAY_AFTER, Neighbours, PaymentReplica, Stores
from tests.support.builders import event
from tests.support.clock import Clock

ASK_AGAIN_AFTER = FIRST_RETRY_AFTER.total_seconds()


class ScriptedProvider:
    """Gives the answers that the test has set; None is no answer. Counts the calls."""

    def __init__(self) -> None:
        self.down = False
        self.charged: Approved | None = Approved("ch-1")
        self.refunded: Refunded | RefundRefused = Refunded("re-1")
        self.calls = 0

    async def charge(self, charge: Charge) -> Approved:
        self.calls += 1
        if self.charged is None:
            raise NoAnswer("not decided")
        return self.charged

    async def refund(self, refund: Refund) -> Refunded | RefundRefused:
        self.calls += 1
        return self.refunded

    async def fetch(self, request: Charge | Refund, reference: str) -> Answer:
        raise AssertionError(reference)

    async def cancel(self, charge: Charge, reference: str) -> Approved:
        raise AssertionError(reference)

    async def check(self) -> None:
        if self.down:
            raise ProviderDown("closed")


async def request(replica: PaymentReplica, kind: type[Event], order_id: str = "o-1") -> list[str]:
    """Have a message handled to its end; return the types of the events that it publishes."""
    [result] = await replica.application.handle([event(kind, order_id=order_id)])
    settled = await result.result if isinstance(result, Deferred) else result
    assert isinstance(settled, Handled)
    return [one.type for one in settled.publish]


async def test_only_one_of_two_replicas_calls_the_provider(
    stores: Stores, paying: BrokerClient, clock: Clock, payers: Neighbours
) -> None:
    provider = ScriptedProvider()
    provider.charged = None
    replicas = [PaymentReplica(stores, paying, clock, provider) for _ in range(2)]
    assert await request(replicas[0], PaymentRequested) == []
    provider.charged, provider.calls = Approved("ch-1"), 0
    clock.advance(ASK_AGAIN_AFTER)
    due = [await replica.state("o-1") for replica in replicas]
    assert all(payment.due_at <= clock() for payment in due)
    await asyncio.gather(
        *(replica.application.act_on_time([payment]) for replica, payment in zip(replicas, due, strict=True))
    )
    assert provider.calls == 1
    assert (await replicas[0].state("o-1")).status == "charged"
    for replica in replicas:
        await replica.relay.publish_handed_over()
    assert await payers.received(ORDER) == [("PaymentCompleted", "o-1")]


async def test_a_claimed_call_of_a_dead_process_is_made_later(
    stores: Stores, paying: BrokerClient, clock: Clock, payers: Neighbours
) -> None:
    provider = ScriptedProvider()
    provider.charged = None
    replica = PaymentReplica(stores, paying, clock, provider)
    await request(replica, PaymentRequested)
    clock.advance(ASK_AGAIN_AFTER)
    await replica.wake_ups.sweep()
    next_call = (await replica.state("o-1")).next_attempt_at
    assert (await replica.entry("o-1")).wake_at == next_call > clock()
    provider.charged, provider.calls = Approved("ch-1"), 0
    await PaymentReplica(stores, paying, clock, provider).wake_ups.sweep()
    assert provider.calls == 0
    clock.advance((next_call - clock()).total_seconds())
    another = PaymentReplica(stores, paying, clock, provider)
    await another.wake_ups.sweep()
    assert provider.calls == 1
    await another.relay.publish_handed_over()
    assert await payers.received(ORDER) == [("PaymentCompleted", "o-1")]


async def test_an_answer_is_relayed_once_its_message_is_gone(
    stores: Stores, paying: BrokerClient, clock: Clock, payers: Neighbours
) -> None:
    provider = ScriptedProvider()
    provider.charged = None
    dead = PaymentReplica(stores, paying, clock, provider)
    await request(dead, PaymentRequested)
    provider.charged = Approved("ch-1")
    clock.advance(ASK_AGAIN_AFTER)
    await dead.wake_ups.sweep()
    assert await dead.unpublished("o-1") == ["PaymentCompleted"]
    clock.advance(RELAY_AFTER)
    await PaymentReplica(stores, paying, clock, provider).wake_ups.sweep()
    assert await payers.received(ORDER) == [("PaymentCompleted", "o-1")]


async def test_an_answer_in_time_goes_out_under_its_message(
    stores: Stores, paying: BrokerClient, clock: Clock, payers: Neighbours
) -> None:
    replica = PaymentReplica(stores, paying, clock, ScriptedProvider())
    assert await request(replica, PaymentRequested) == ["PaymentCompleted"]
    entry = await replica.entry("o-1")
    assert (entry.unpublished, entry.wake_at) == ([], None)
    assert await request(replica, PaymentRequested) == ["PaymentCompleted"]


async def test_what_is_appended_to_a_published_record_is_published(
    stores: Stores, paying: BrokerClient, clock: Clock, payers: Neighbours
) -> None:
    provider = ScriptedProvider()
    provider.refunded = RefundRefused("not now")
    replica = PaymentReplica(stores, paying, clock, provider)
    await request(replica, PaymentRequested)
    assert await request(replica, PaymentRefundRequested) == ["PaymentRefundFailed"]
    provider.refunded = Refunded("re-1")
    next_attempt = (await replica.entry("o-1")).wake_at
    assert next_attempt is not None
    clock.advance((next_attempt - clock()).total_seconds())
    await replica.wake_ups.sweep()
    assert await replica.unpublished("o-1") == ["PaymentRefunded"]
    clock.advance(RELAY_AFTER)
    await PaymentReplica(stores, paying, clock, provider).wake_ups.sweep()
    assert await payers.received(ORDER) == [("PaymentRefunded", "o-1")]


async def test_a_provider_that_is_down_delays_no_event(
    stores: Stores,
    paying: BrokerClient,
    clock: Clock,
    payers: Neighbours,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("saga.timers.wake_ups.BATCH", 1)
    provider = ScriptedProvider()
    provider.charged = None
    dead = PaymentReplica(stores, paying, clock, provider)
    await request(dead, PaymentRequested, "undecided")
    clock.advance(1)
    await request(dead, PaymentRequested, "answered")
    clock.advance(ASK_AGAIN_AFTER)
    provider.charged = Approved("ch-1")
    await dead.application.act_on_time([await dead.state("answered")])
    clock.advance(RELAY_AFTER)
    provider.down = True
    with pytest.raises(Unavailable):
        await PaymentReplica(stores, paying, clock, provider).wake_ups.sweep()
    assert await payers.received(ORDER) == [("PaymentCompleted", "answered")]
    assert (await dead.state("undecided")).status == "charging"


async def test_an_answer_to_a_lost_message_is_relayed(
    stores: Stores, paying: BrokerClient, clock: Clock, payers: Neighbours
) -> None:
    decided = asyncio.Event()

    class SlowProvider(ScriptedProvider):
        async def charge(self, charge: Charge) -> Approved:
            await decided.wait()
            return Approved("ch-1")

    undecided = ScriptedProvider()
    undecided.charged = None
    one = PaymentReplica(stores, paying, clock, SlowProvider())
    [waiting] = await one.application.handle([event(PaymentRequested)])
    assert isinstance(waiting, Deferred)
    # Its connection is lost, and the message is delivered to another replica, which acknowledges it.
    assert await request(PaymentReplica(stores, paying, clock, undecided), PaymentRequested) == []
    decided.set()
    assert await waiting.result == Handled([])
    await one.relay.publish_handed_over()
    assert await payers.received(ORDER) == [("PaymentCompleted", "o-1")]

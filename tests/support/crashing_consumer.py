"""`python -m tests.support.crashing_consumer URL ORDER_ID`: a service that one order crashes."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from events.catalogue import INVENTORY, Event, InventoryConfirmed
from events.encoded import EncodedEvent
from events.identity import derived_id
from saga.clock import utc_now
from saga.messaging.consumer import BatchConsumer
from saga.messaging.results import Handled, Result
from saga.messaging.topology import Topology
from saga.rabbitmq.client import BrokerClient

SERVICE = Topology(
    INVENTORY, reacts_to=["InventoryConfirmationRequested"], publishes=["InventoryConfirmed"], delays=(0.1,)
)


async def main(url: str, poison: str) -> None:
    """Confirm every order but the poison one."""

    async def handle(events: Sequence[Event]) -> Sequence[Result]:
        if any(event.order_id == poison for event in events):
            os.kill(os.getpid(), signal.SIGKILL)
        return [Handled([_confirmed(event)]) for event in events]

    async def available() -> None:
        return None

    await BrokerClient(url, SERVICE).run(
        [BatchConsumer(SERVICE, handle, available, quarantined=quarantined) for quarantined in (False, True)]
    )


def _confirmed(event: Event) -> EncodedEvent:
    confirmed = InventoryConfirmed(
        event_id=derived_id(str(event.event_id), "InventoryConfirmed"),
        correlation_id=event.correlation_id,
        causation_id=event.event_id,
        occurred_at=utc_now(),
        order_id=event.order_id,
    )
    return EncodedEvent.of(confirmed)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

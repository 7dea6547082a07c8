"""`python -m order_service`: run the order service, configured by the environment."""

import asyncio
from datetime import timedelta

from events.catalogue import ORDER
from order_service.api import order_api
from order_service.application import OrderApplication
from order_service.mongo_store import OrderStore
from order_service.order import Order
from order_service.reactions import REACTIONS, TRANSITIONS
from order_service.settings import OrderSettings
from saga import logs
from saga.clock import utc_now
from saga.http.rate_limit import RateLimit
from saga.mongodb.client import connect, database
from saga.process import Service, broker, run
from saga.reactions.application import topology
from saga.settings import read_to_serve
from saga.timers.nudge import Nudge
from saga.timers.relay import Relay


async def main(settings: OrderSettings) -> None:
    """Run until told to stop."""
    client = connect(settings.mongodb)
    nudge_after = timedelta(seconds=settings.nudge_after)
    store = OrderStore(database(client, settings.database)["orders"], Order, utc_now, nudge_after)
    rabbit = broker(settings, topology(ORDER, REACTIONS, TRANSITIONS, settings.retry_delays))
    relay = Relay(ORDER, rabbit, store, utc_now, settings.relay_patience)
    worker = OrderApplication(store, relay, utc_now)
    nudge = Nudge(ORDER, rabbit, store, utc_now)
    await run(
        Service(
            settings=settings,
            app=order_api(worker, nudge, RateLimit(settings.rate, settings.burst)),
            rabbit=rabbit,
            handle=worker.handle,
            available=store.ping,
            outbox=store,
            relay=relay,
            prepare=store.prepare,
            sweeps=[worker.give_up_overdue, nudge.sweep],
        )
    )
    client.close()


if __name__ == "__main__":
    settings = read_to_serve(OrderSettings)
    logs.configure(ORDER, settings.log_level)
    asyncio.run(main(settings))

"""`python -m inventory_service`: run the inventory service, configured by the environment."""

import asyncio
from datetime import timedelta

from events.catalogue import INVENTORY
from inventory_service.api import inventory_api
from inventory_service.application import InventoryApplication
from inventory_service.mongo_store import InventoryStore
from inventory_service.reactions import REACTIONS, TRANSITIONS
from inventory_service.settings import InventorySettings
from saga import logs
from saga.clock import utc_now
from saga.mongodb.client import connect, database
from saga.process import Service, broker, run
from saga.reactions.application import topology
from saga.settings import read_to_serve
from saga.timers.nudge import Nudge
from saga.timers.relay import Relay


async def main(settings: InventorySettings) -> None:
    """Run until told to stop."""
    client = connect(settings.mongodb)
    store = InventoryStore(
        client,
        database(client, settings.database),
        utc_now,
        timedelta(seconds=settings.hold_seconds),
        settings.replica_name(),
        timedelta(seconds=settings.nudge_after),
        settings.band_km,
    )
    rabbit = broker(settings, topology(INVENTORY, REACTIONS, TRANSITIONS, settings.retry_delays))
    relay = Relay(INVENTORY, rabbit, store, utc_now, settings.relay_patience)
    worker = InventoryApplication(store, relay, utc_now)
    await run(
        Service(
            settings=settings,
            app=inventory_api(worker),
            rabbit=rabbit,
            handle=worker.handle,
            available=store.ping,
            outbox=store,
            relay=relay,
            prepare=store.prepare,
            sweeps=[worker.expire_due, Nudge(INVENTORY, rabbit, store, utc_now).sweep],
        )
    )
    client.close()


if __name__ == "__main__":
    settings = read_to_serve(InventorySettings)
    logs.configure(INVENTORY, settings.log_level)
    asyncio.run(main(settings))

"""`python -m payment_service`: run the payment service, configured by the environment."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from events.catalogue import PAYMENT
from payment_service.api import payment_api
from payment_service.application import PaymentApplication
from payment_service.mongo_store import PaymentStore
from payment_service.payment import Payment
from payment_service.providers.base import Provider
from payment_service.providers.simulated import SimulatedProvider
from payment_service.providers.xendit.client import XenditProvider
from payment_service.reactions import REACTIONS, TRANSITIONS
from payment_service.settings import PaymentSettings
from saga import logs
from saga.clock import utc_now
from saga.mongodb.client import connect, database
from saga.process import Service, broker, run
from saga.reactions.application import topology
from saga.settings import read_to_serve
from saga.timers.relay import Relay


async def main(settings: PaymentSettings) -> None:
    """Run until told to stop."""
    client = connect(settings.mongodb)
    store = PaymentStore(database(client, settings.database)["payments"], Payment, utc_now)
    rabbit = broker(settings, topology(PAYMENT, REACTIONS, TRANSITIONS, settings.retry_delays))
    relay = Relay(PAYMENT, rabbit, store, utc_now, settings.relay_patience)
    async with _provider(settings) as provider:
        worker = PaymentApplication(
            store, relay, provider, utc_now, settings.call_timeout, settings.retries()
        )
        if isinstance(provider, SimulatedProvider):
            provider.subscribe(worker.handle_notification)
        await run(
            Service(
                settings=settings,
                app=payment_api(worker, settings.xendit_callback_token),
                rabbit=rabbit,
                handle=worker.handle,
                available=worker.available,
                outbox=store,
                relay=relay,
                prepare=store.prepare,
                sweeps=[worker.retry_due],
            )
        )
    client.close()


@asynccontextmanager
async def _provider(settings: PaymentSettings) -> AsyncIterator[Provider]:
    key = settings.xendit_secret_key
    if settings.provider == "simulated" or key is None:
        yield SimulatedProvider(settings.behaviour(), time.time)
        return
    # A little shorter than the whole call may take, so that silence is seen to be Xendit's.
    limit = settings.call_timeout * 0.9
    async with httpx.AsyncClient(
        base_url=settings.xendit_url, auth=(key.get_secret_value(), ""), timeout=limit
    ) as http:
        yield XenditProvider(http, settings.merchant(), time.monotonic)


if __name__ == "__main__":
    settings = read_to_serve(PaymentSettings)
    logs.configure(PAYMENT, settings.log_level)
    asyncio.run(main(settings))

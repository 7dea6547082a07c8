"""`python -m payment_service`: run the payment service, configured by the environment."""

import asyncio
import time

from events.catalogue import PAYMENT
from payment_service.api import payment_api
from payment_service.payment import Payment
from payment_service.reactions import REACTIONS, TRANSITIONS
from payment_service.settings import PaymentSettings
from payment_service.simulated import SimulatedProvider
from payment_service.store import PaymentStore
from payment_service.worker import PaymentWorker
from reactor.mongo import connect, database
from reactor.relay import Relay
from reactor.worker import topology
from runtime import logs
from runtime.clock import utc_now
from runtime.service import Service, broker, run
from runtime.settings import read_to_serve


async def main(settings: PaymentSettings) -> None:
    """Run until told to stop."""
    client = connect(settings.mongodb_url.get_secret_value())
    store = PaymentStore(database(client, settings.database)["payments"], Payment, utc_now)
    rabbit = broker(settings, topology(PAYMENT, REACTIONS, TRANSITIONS, settings.retry_delays))
    relay = Relay(PAYMENT, rabbit, store, utc_now, settings.relay_patience)
    provider = SimulatedProvider(settings.behaviour(), time.time)
    worker = PaymentWorker(store, relay, provider, utc_now, settings.call_timeout, settings.retries())
    provider.listen(worker.hear)
    await run(
        Service(
            settings=settings,
            app=payment_api(worker),
            rabbit=rabbit,
            handle=worker.handle,
            available=worker.available,
            outbox=store,
            relay=relay,
            prepare=store.prepare,
            sweeps=[worker.finish_left_over],
        )
    )
    client.close()


if __name__ == "__main__":
    settings = read_to_serve(PaymentSettings)
    logs.configure(PAYMENT, settings.log_level)
    asyncio.run(main(settings))

"""`python -m payment_service`: run the payment service, configured by the environment."""

import asyncio

from events.catalogue import PAYMENT
from payment_service.api import payment_api
from payment_service.application import PaymentApplication
from payment_service.mongo_store import PaymentStore
from payment_service.payment import Payment
from payment_service.providers.selection import open_provider
from payment_service.providers.simulated import SimulatedProvider
from payment_service.providers.xendit.webhook import add_webhook
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
    async with open_provider(settings) as provider:
        worker = PaymentApplication(
            store, relay, provider, utc_now, settings.call_timeout, settings.retries()
        )
        if isinstance(provider, SimulatedProvider):
            provider.subscribe(worker.handle_notification)
        app = payment_api(worker)
        if settings.xendit_callback_token.get_secret_value():
            add_webhook(app, settings.xendit_callback_token, worker.handle_notification)
        await run(
            Service(
                settings=settings,
                app=app,
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


if __name__ == "__main__":
    settings = read_to_serve(PaymentSettings)
    logs.configure(PAYMENT, settings.log_level)
    asyncio.run(main(settings))

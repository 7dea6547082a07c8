"""`python -m payment_service`: run the payment service, configured by the environment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from payment_service.api import payment_api
from payment_service.application import PaymentApplication
from payment_service.mongo_store import PaymentStore
from payment_service.providers.selection import open_provider
from payment_service.providers.simulated import SimulatedProvider
from payment_service.providers.xendit.webhook import add_webhook
from payment_service.settings import PaymentSettings
from payment_service.spec import SPEC
from saga.process import Parts, Served, serve


@asynccontextmanager
async def assemble(settings: PaymentSettings, parts: Parts[PaymentStore]) -> AsyncIterator[Served]:
    """Put the service together, with the provider that the settings name."""
    async with open_provider(settings) as provider:
        application = PaymentApplication(
            parts.store, parts.around, provider, settings.call_timeout, settings.retries()
        )
        if isinstance(provider, SimulatedProvider):
            provider.subscribe(application.handle_notification)
        app = payment_api(application, parts.store)
        if settings.xendit_callback_token.get_secret_value():
            add_webhook(app, settings.xendit_callback_token, application.handle_notification)
        yield application, app


if __name__ == "__main__":
    serve(SPEC, assemble)

"""`python -m order_service`: run the order service, configured by the environment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from order_service.api import order_api
from order_service.application import OrderApplication
from order_service.mongo_store import OrderStore
from order_service.settings import OrderSettings
from order_service.spec import SPEC
from saga.http.back_pressure import BackPressure
from saga.http.rate_limit import RateLimit
from saga.process import Parts, Served, serve


@asynccontextmanager
async def assemble(settings: OrderSettings, parts: Parts[OrderStore]) -> AsyncIterator[Served]:
    """Put the service together."""
    application = OrderApplication(parts.store, parts.around)
    rate_limit = RateLimit(settings.rate, settings.burst)
    back_pressure = BackPressure(parts.backlog, settings.backlog_limit)
    yield application, order_api(application, parts.store, parts.nudge, rate_limit, back_pressure)


if __name__ == "__main__":
    serve(SPEC, assemble)

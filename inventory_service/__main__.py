"""`python -m inventory_service`: run the inventory service, configured by the environment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from inventory_service.api import inventory_api
from inventory_service.application import InventoryApplication
from inventory_service.mongo_store import InventoryStore
from inventory_service.settings import InventorySettings
from inventory_service.spec import SPEC
from saga.process import Parts, Served, serve


@asynccontextmanager
async def assemble(settings: InventorySettings, parts: Parts[InventoryStore]) -> AsyncIterator[Served]:
    """Put the service together."""
    application = InventoryApplication(parts.store, parts.around)
    yield application, inventory_api(application, parts.store)


if __name__ == "__main__":
    serve(SPEC, assemble)

"""What the order service consists of."""

from events.catalogue import ORDER
from order_service.mongo_store import OrderStore
from order_service.reactions import REACTIONS, TRANSITIONS
from order_service.settings import OrderSettings
from saga.clock import utc_now
from saga.mongodb.client import Database
from saga.spec import ServiceSpec


def _open_store(database: Database, settings: OrderSettings) -> OrderStore:
    return OrderStore(database["orders"], utc_now, settings.archived_after())


SPEC = ServiceSpec(ORDER, OrderSettings, REACTIONS, TRANSITIONS, _open_store)

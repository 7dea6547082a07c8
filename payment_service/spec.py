"""What the payment service consists of."""

from events.catalogue import PAYMENT
from payment_service.mongo_store import PaymentStore
from payment_service.reactions import REACTIONS, TRANSITIONS
from payment_service.settings import PaymentSettings
from saga.clock import utc_now
from saga.mongodb.client import Database
from saga.spec import ServiceSpec


def _open_store(database: Database, settings: PaymentSettings) -> PaymentStore:
    return PaymentStore(database["payments"], utc_now, settings.archived_after())


SPEC = ServiceSpec(PAYMENT, PaymentSettings, REACTIONS, TRANSITIONS, _open_store)

"""The services as they run: their tables, their settings, and what they have at the broker."""

from collections.abc import Callable, Mapping

from events.catalogue import INVENTORY, ORDER, PAYMENT
from inventory_service import reactions as inventory
from inventory_service.settings import InventorySettings
from order_service import reactions as order
from order_service.settings import OrderSettings
from payment_service import reactions as payment
from payment_service.settings import PaymentSettings
from saga.messaging.topology import DEFAULT_DELAYS, Topology
from saga.reactions.application import Reactions, Transitions, topology
from saga.settings import ServiceSettings

TABLES: Mapping[str, tuple[Reactions, Transitions]] = {
    ORDER: (order.REACTIONS, order.TRANSITIONS),
    INVENTORY: (inventory.REACTIONS, inventory.TRANSITIONS),
    PAYMENT: (payment.REACTIONS, payment.TRANSITIONS),
}
SETTINGS: Mapping[str, type[ServiceSettings]] = {
    ORDER: OrderSettings,
    INVENTORY: InventorySettings,
    PAYMENT: PaymentSettings,
}


def topologies(delays: Callable[[str], tuple[float, ...]] = lambda service: DEFAULT_DELAYS) -> list[Topology]:
    """Return what each service has at the broker; `delays` says what its pauses between attempts are."""
    return [topology(service, *tables, delays(service)) for service, tables in TABLES.items()]

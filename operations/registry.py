"""The services as they run."""

from collections.abc import Mapping
from typing import Any

from inventory_service.spec import SPEC as INVENTORY_SPEC
from order_service.spec import SPEC as ORDER_SPEC
from payment_service.spec import SPEC as PAYMENT_SPEC
from saga.messaging.topology import Topology
from saga.spec import ServiceSpec

SPECS: Mapping[str, ServiceSpec[Any, Any]] = {
    spec.name: spec for spec in (ORDER_SPEC, INVENTORY_SPEC, PAYMENT_SPEC)
}
"""What each service consists of, by its name."""
TOPOLOGIES: Mapping[str, Topology] = {name: spec.topology() for name, spec in SPECS.items()}
"""What each service has at the broker, with the default pauses between two attempts at a message."""

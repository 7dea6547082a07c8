"""What each service consists of, as the registry says."""

import pytest

from events.catalogue import INVENTORY, ORDER, PAYMENT, SERVICES
from operations.registry import SPECS, TOPOLOGIES


def test_every_service_of_the_catalogue_is_registered() -> None:
    assert tuple(SPECS) == tuple(TOPOLOGIES) == SERVICES


@pytest.mark.parametrize(
    ("service", "prefix", "port"),
    [(ORDER, "ORDER_", 8001), (INVENTORY, "INVENTORY_", 8002), (PAYMENT, "PAYMENT_", 8003)],
)
def test_a_spec_names_prefix_port_and_exchange(service: str, prefix: str, port: int) -> None:
    spec = SPECS[service]
    assert (spec.env_prefix, spec.port_variable, spec.port) == (prefix, f"{prefix}PORT", port)
    assert spec.exchange == TOPOLOGIES[service].exchange == f"{spec.short_name}.events"
    assert spec.settings().database == service


def test_the_topology_follows_the_tables() -> None:
    for spec in SPECS.values():
        topology = spec.topology(delays=(0.5,))
        assert set(topology.reacts_to) == {event.__name__ for event in spec.reactions}
        assert set(topology.publishes) == {event.__name__ for rule in spec.rules for event in rule.publishes}
        assert topology.delays == (0.5,)

"""What the contracts say of publishers and readers is what the tables of the services do."""

from itertools import chain

import pytest

from events.catalogue import (
    EVENT_TYPES,
    INVENTORY,
    ORDER,
    PAYMENT,
    SERVICES,
    Event,
    InventoryReservationRequested,
)
from operations.registry import SPECS
from order_service import reactions as order
from saga.messaging.topology import DELIVERY_LIMIT, Topology, exchange_of, home_exchange

TOPOLOGIES = {name: spec.topology(delays=(0.25, 1.0, 30.0)) for name, spec in SPECS.items()}
INVENTORYS = TOPOLOGIES[INVENTORY]
KINDS = list(EVENT_TYPES.values())


def emitters(kind: type[Event]) -> set[str]:
    """Return the services that have a rule which may publish this event."""
    return {service for service, spec in SPECS.items() for rule in spec.rules if kind in rule.publishes}


class TestContracts:
    def test_every_service_has_its_tables(self) -> None:
        assert set(SPECS) == set(SERVICES)

    @pytest.mark.parametrize("kind", KINDS)
    def test_exactly_the_named_services_handle_an_event(self, kind: type[Event]) -> None:
        readers = [service for service, spec in SPECS.items() if kind in spec.reactions]
        assert sorted(kind.handled_by) == sorted(readers)

    @pytest.mark.parametrize("kind", KINDS)
    def test_exactly_the_named_service_publishes_an_event(self, kind: type[Event]) -> None:
        assert emitters(kind) == {kind.published_by}

    def test_a_saga_is_started_by_placing_an_order(self) -> None:
        rules = [*chain.from_iterable(spec.reactions.values() for spec in SPECS.values())]
        assert not any(InventoryReservationRequested in rule.publishes for rule in rules)
        assert order.PLACE.publishes == (InventoryReservationRequested,)

    def test_only_the_two_ends_of_a_saga_have_no_handler(self) -> None:
        assert [kind.__name__ for kind in KINDS if not kind.handled_by] == ["OrderCreated", "OrderFailed"]

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_type_of_an_event_is_the_name_of_its_model(self, kind: type[Event]) -> None:
        assert kind.model_fields["type"].default == kind.__name__


class TestNames:
    def test_each_service_has_an_exchange_for_its_events(self) -> None:
        assert [exchange_of(service) for service in SERVICES] == [
            "order.events",
            "inventory.events",
            "payment.events",
        ]

    @pytest.mark.parametrize("kind", KINDS)
    def test_an_event_is_at_home_in_the_exchange_of_its_publisher(self, kind: type[Event]) -> None:
        assert home_exchange(kind.__name__) == TOPOLOGIES[kind.published_by].exchange

    def test_the_exchanges_of_a_service(self) -> None:
        assert INVENTORYS.exchanges == {
            "inventory.events": "topic",
            "inventory_service.retry": "direct",
            "inventory_service.return": "fanout",
            "inventory_service.dead": "fanout",
        }

    def test_the_queues_of_a_service(self) -> None:
        assert list(INVENTORYS.queues) == [
            "inventory_service",
            "inventory_service.quarantine",
            "inventory_service.dead",
            "inventory_service.retry.250ms",
            "inventory_service.retry.1000ms",
            "inventory_service.retry.30000ms",
        ]

    def test_no_two_services_share_an_object(self) -> None:
        names = [name for one in TOPOLOGIES.values() for name in [*one.exchanges, *one.queues]]
        exchanges = [name for one in TOPOLOGIES.values() for name in one.exchanges]
        queues = [name for one in TOPOLOGIES.values() for name in one.queues]
        assert len(set(exchanges)) == len(exchanges)
        assert len(set(queues)) == len(queues)
        assert all(name.startswith(("order", "inventory", "payment")) for name in names)


@pytest.mark.parametrize("one", TOPOLOGIES.values(), ids=TOPOLOGIES)
class TestQueues:
    def test_every_queue_is_a_quorum_queue(self, one: Topology) -> None:
        assert {arguments["x-queue-type"] for arguments in one.queues.values()} == {"quorum"}

    def test_every_queue_that_dead_letters_does_so_at_least_once(self, one: Topology) -> None:
        lettering = [queue for queue in one.queues.values() if "x-dead-letter-exchange" in queue]
        assert len(lettering) == len(one.queues) - 1
        for arguments in lettering:
            assert arguments["x-dead-letter-strategy"] == "at-least-once"
            assert arguments["x-overflow"] == "reject-publish"
            assert arguments["x-dead-letter-exchange"] in one.exchanges

    def test_an_unreadable_message_stays_a_dead_letter(self, one: Topology) -> None:
        for queue in (one.queue, one.quarantine_queue):
            assert one.queues[queue]["x-dead-letter-exchange"] == one.dead_letter_queue
            assert one.queues[queue]["x-delivery-limit"] == DELIVERY_LIMIT
        assert "x-dead-letter-exchange" not in one.queues[one.dead_letter_queue]
        assert "x-message-ttl" not in one.queues[one.dead_letter_queue]

    def test_what_is_delayed_comes_back(self, one: Topology) -> None:
        for attempt, delay in enumerate(one.delays):
            queue = f"{one.retry_exchange}.{one.delay_key(attempt)}"
            assert one.queues[queue]["x-message-ttl"] == delay * 1000
            assert one.queues[queue]["x-dead-letter-exchange"] == one.return_exchange
            assert (queue, one.retry_exchange, one.delay_key(attempt)) in one.own_bindings
        assert (one.queue, one.return_exchange, "") in one.own_bindings

    def test_its_queues_are_bound_to_its_exchanges(self, one: Topology) -> None:
        assert {queue for queue, _, _ in one.own_bindings} == set(one.queues)
        assert {exchange for _, exchange, _ in one.own_bindings} <= set(one.exchanges)

    def test_it_hears_of_every_event_it_reacts_to_and_of_no_other(self, one: Topology) -> None:
        heard = {
            (one.queue, home_exchange(kind.__name__), f"{kind.__name__}.#")
            for kind in KINDS
            if one.service in kind.handled_by
        }
        assert set(one.event_bindings) == heard
        assert len(one.event_bindings) == len(heard)

    def test_it_needs_the_queues_of_all_who_read_what_it_publishes(self, one: Topology) -> None:
        readers = {reader for kind in KINDS if kind.published_by == one.service for reader in kind.handled_by}
        others = readers - {one.service}
        assert one.required_queues == sorted([*others, *(f"{other}.quarantine" for other in others)])


def test_the_order_service_needs_both_others_and_they_need_it() -> None:
    assert {INVENTORY, PAYMENT} < set(TOPOLOGIES[ORDER].required_queues)
    assert ORDER in TOPOLOGIES[INVENTORY].required_queues
    assert ORDER in TOPOLOGIES[PAYMENT].required_queues

"""The state table of a reservation: only the listed events change it."""

from contextlib import suppress

import pytest

from events.catalogue import (
    Event,
    InventoryConfirmationRequested,
    InventoryReleaseRequested,
    InventoryReservationRequested,
)
from inventory_service.reactions import REACTIONS
from saga.errors import OutOfOrder
from tests.support.reactions import after
from tests.unit.inventory_service.states import SAGA_STATES, moves, react

CHANGES: dict[str, set[type[Event]]] = {
    "held": {InventoryConfirmationRequested, InventoryReleaseRequested},
    "allocated": set(),
    "expired": {InventoryConfirmationRequested, InventoryReleaseRequested},
    "rejected": {InventoryReleaseRequested},
    "released": set(),
    "tombstone": set(),
}
"""Which events change the status of which reservation, or its stock; a released one is only asked again."""


@pytest.mark.parametrize("name", SAGA_STATES)
@pytest.mark.parametrize("kind", REACTIONS, ids=lambda kind: kind.__name__)
def test_only_the_listed_events_change_a_reservation(name: str, kind: type[Event]) -> None:
    before = SAGA_STATES[name]
    reaction = react(before, kind)
    if kind in CHANGES[name]:
        assert after(reaction).status != before.status
    elif name == "tombstone" and kind is InventoryReservationRequested:
        assert (after(reaction).status, after(reaction).lines) == (before.status, before.lines)
        assert not moves(reaction)
    else:
        assert reaction.state == before
        assert not moves(reaction)


@pytest.mark.parametrize("kind", REACTIONS, ids=lambda kind: kind.__name__)
def test_every_event_of_a_rule_is_published_in_some_state(kind: type[Event]) -> None:
    published: set[type[Event]] = set()
    for before in (None, *SAGA_STATES.values()):
        with suppress(OutOfOrder):
            published |= {type(one) for one in react(before, kind).emits}
    assert published == set(REACTIONS[kind].publishes)


def test_the_states_cover_every_status() -> None:
    assert {state.status for state in SAGA_STATES.values()} == {
        "held",
        "rejected",
        "allocated",
        "released",
        "expired",
    }

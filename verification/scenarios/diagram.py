"""A scenario as a Mermaid sequence diagram: the events that the end-to-end test of the scenario checks."""

from collections.abc import Iterator

from events.catalogue import SERVICES, Event
from verification.scenarios.scenario import Scenario


def sequence_diagram(scenario: Scenario) -> str:
    """Return the diagram: each event leads from the service that publishes it to those that handle it."""
    lines = [f"participant {service}" for service in SERVICES]
    lines += [line for event in scenario.events for line in _arrows(event)]
    return "\n".join(["sequenceDiagram", *(f"    {line}" for line in lines)])


def _arrows(event: type[Event]) -> Iterator[str]:
    readers = [service for service in event.handled_by if service != event.published_by]
    for reader in readers:
        yield f"{event.published_by}->>{reader}: {event.__name__}"
    if not readers:
        yield f"Note over {event.published_by}: {event.__name__}"

"""Scenarios as Mermaid sequence diagrams; `python -m verification.scenarios.diagram` updates the README.

They show the events that the end-to-end test of the scenario checks.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from events.catalogue import SERVICES, Event, short_name
from operations.generated import write
from verification.scenarios.scenario import Scenario
from verification.scenarios.table import SCENARIOS


def sequence_diagram(scenario: Scenario) -> str:
    """Return the diagram: each event leads from the service that publishes it to those that handle it."""
    participants = [short_name(service) for service in SERVICES]
    lines = [
        *(f"participant {name}" for name in participants),
        f"Note over {participants[0]},{participants[-1]}: {scenario.name}",
        *(line for event in scenario.events for line in _arrows(event)),
    ]
    return "\n".join(["```mermaid", "sequenceDiagram", *(f"    {line}" for line in lines), "```"])


def _arrows(event: type[Event]) -> Iterator[str]:
    publisher = short_name(event.published_by)
    readers = [short_name(service) for service in event.handled_by if service != event.published_by]
    for reader in readers:
        yield f"{publisher}->>{reader}: {event.__name__}"
    if not readers:
        yield f"Note over {publisher}: {event.__name__}"


SHOWN = ("confirmed", "declined and released")
PARTS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("README.md", scenario.name): partial(sequence_diagram, scenario)
    for scenario in SCENARIOS
    if scenario.name in SHOWN
}
"""What makes each diagram of the documentation; see `operations.generated`."""
COMMAND = "python -m verification.scenarios.diagram"

if __name__ == "__main__":
    write(PARTS)

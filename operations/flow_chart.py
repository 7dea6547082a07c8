"""The whole saga as a Mermaid flow chart, generated from the reactions of the three services."""

from typing import Any

from events.catalogue import EVENT_TYPES, INVENTORY, ORDER, PAYMENT, SERVICES, short_name
from operations.registry import SPECS
from saga.reactions.reaction import Rule

COLOURS = {
    ORDER: "fill:#dbeafe,stroke:#1d4ed8,color:#0f172a",
    INVENTORY: "fill:#dcfce7,stroke:#15803d,color:#0f172a",
    PAYMENT: "fill:#fef3c7,stroke:#b45309,color:#0f172a",
}


def mermaid() -> str:
    """Return the flow chart.

    An arrow leads from an event, through the reaction it is labelled with, to an event which that reaction
    may publish. Colours tell the services apart: an event has its publisher's, which is the one that reacted.
    Rounded boxes are what no event causes, and reactions that publish nothing.
    """
    lines = ["flowchart LR", f"    {' ~~~ '.join(SERVICES)}"]
    coloured = {service: [service] for service in SERVICES}
    for kind, event in EVENT_TYPES.items():
        coloured[event.published_by].append(kind)
    for service, spec in SPECS.items():
        for transition in spec.transitions:
            if transition.publishes:
                cause = _box(service, transition.name)
                coloured[service].append(cause)
                lines.append(f"    {cause}([{_words(transition.name)}]) --> {_events(transition)}")
        for kind, event in EVENT_TYPES.items():
            if event not in spec.reactions:
                continue
            rule = spec.reactions[event]
            name = rule.name
            if rule.publishes:
                lines.append(f"    {kind} -->|{_words(name)}| {_events(rule)}")
            else:
                coloured[service].append(_box(service, name))
                lines.append(f"    {kind} --> {_box(service, name)}([{_words(name)}])")
    lines += [f"    classDef {service} {COLOURS[service]}" for service in SERVICES]
    lines += [f"    class {','.join(nodes)} {service}" for service, nodes in coloured.items()]
    return "\n".join(lines)


def block() -> str:
    """Return the flow chart as it stands in a Markdown file."""
    return f"```mermaid\n{mermaid()}\n```"


def _events(rule: Rule[Any, Any, *tuple[Any, ...]]) -> str:
    return " & ".join(kind.__name__ for kind in rule.publishes)


def _box(service: str, name: str) -> str:
    return f"{short_name(service)}_{name}"


def _words(name: str) -> str:
    return name.replace("_", " ")

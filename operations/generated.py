"""The parts of the documentation that are made from the code; `python -m operations.generated` updates them.

A part stands in a Markdown file between two comments that name it, and a test compares it with the code.
"""

from collections.abc import Callable, Mapping
from inspect import getsource
from pathlib import Path

from events.catalogue import ORDER, PaymentFailed
from operations.events_page import events
from operations.flow_chart import block
from operations.registry import SPECS
from operations.settings_page import settings

ROOT = Path(__file__).parents[1]


def reaction() -> str:
    """Return the source of one reaction, the README's example."""
    rule = SPECS[ORDER].reactions[PaymentFailed]
    return f"```python\n{getsource(rule.react)}```"


PARTS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("README.md", "reaction"): reaction,
    ("docs/architecture.md", "flow"): block,
    ("docs/events.md", "events"): events,
    ("docs/configure.md", "settings"): settings,
}
"""What makes each part, by the file and the name of the part."""
COMMAND = "python -m operations.generated"


def markers(part: str) -> tuple[str, str]:
    """Return the comments between which a part stands."""
    return f"<!-- {part} -->", f"<!-- /{part} -->"


def replaced(text: str, part: str, content: str) -> str:
    """Return a Markdown text with this content between the markers of a part.

    Raises:
        ValueError: the text does not have the two markers, once each and in order.
    """
    start, end = markers(part)
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"does not have {start} and {end}, once each and in this order")
    before, _, rest = text.partition(start)
    return f"{before}{start}\n{content}\n{end}{rest.partition(end)[2]}"


def write(parts: Mapping[tuple[str, str], Callable[[], str]]) -> None:
    """Write every part into its file."""
    for (name, part), make in parts.items():
        file = ROOT / name
        file.write_text(replaced(file.read_text("utf-8"), part, make()), "utf-8")


if __name__ == "__main__":
    write(PARTS)

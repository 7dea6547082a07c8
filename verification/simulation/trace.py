"""What happened in a schedule, as a readable timeline."""

from collections.abc import MutableMapping
from typing import Any


class Trace:
    """Collects lines of a timeline. Switched off it costs nothing, and the schedule is the same."""

    def __init__(self, on: bool = False) -> None:
        self.on = on
        self.lines: list[tuple[float, str, str]] = []

    def add(self, at: float, who: str, what: str) -> None:
        """Add a line."""
        if self.on:
            self.lines.append((at, who, what))

    def text(self) -> str:
        """Return the timeline."""
        return "\n".join(f"{at:10.3f}  {who:<14} {what}" for at, who, what in self.lines)


def described(fields: MutableMapping[str, Any]) -> str:
    """Return a log record in one line."""
    return " ".join(f"{name}={value}" for name, value in fields.items() if value not in (None, []))

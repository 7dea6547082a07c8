"""The generated parts of the documentation are what the code says today."""

import pytest

from events.catalogue import EVENT_TYPES
from operations.events_page import events
from operations.generated import COMMAND, PARTS, ROOT, markers, replaced
from operations.registry import SPECS
from operations.settings_page import settings

START, END = markers("part")


@pytest.mark.parametrize(("file", "part"), PARTS)
def test_a_page_is_up_to_date(file: str, part: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    assert replaced(text, part, PARTS[file, part]()) == text, f"out of date: run `{COMMAND}`"


class TestReplacing:
    def test_only_what_is_between_the_markers_changes(self) -> None:
        once = replaced(f"# Title\n\n{START}\nold\n{END}\n\nrest\n", "part", "new")
        assert once == f"# Title\n\n{START}\nnew\n{END}\n\nrest\n"
        assert replaced(once, "part", "new") == once

    @pytest.mark.parametrize("text", ["", START, END, END + START, START + END + START])
    def test_a_text_without_the_two_markers_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="does not have"):
            replaced(text, "part", "new")


def test_every_event_has_its_functions_and_its_fields() -> None:
    page = events()
    for kind, event in EVENT_TYPES.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| [{kind}]")]
        for spec in SPECS.values():
            assert event not in spec.reactions or f"`{spec.reactions[event].react.__name__}`" in row
        section = page.partition(f"### {kind}\n")[2].partition("\n### ")[0]
        own = event.model_fields.keys() - {"type", "version", "event_id", "order_id"}
        common = {"correlation_id", "causation_id", "occurred_at"}
        assert all(f"| `{event.model_fields[name].alias}` |" in section for name in own - common)


def test_a_field_with_a_default_is_optional() -> None:
    section = events().partition("### InventoryReservationRequested\n")[2].partition("\n### ")[0]
    assert "| `totalAmount` | amount |  |" in section
    assert "| `expiresIn` | integer | optional |" in section


def test_every_setting_has_a_variable_and_a_meaning() -> None:
    rows = [line for line in settings().splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == []
    for spec in SPECS.values():
        for name, field in spec.settings.model_fields.items():
            assert any(f"_{name}`".upper() in row or f"`{field.validation_alias}`" in row for row in rows)

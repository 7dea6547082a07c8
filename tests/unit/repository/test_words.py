"""The word list, what scripts/check-words finds with it, and the length of the names of tests."""

import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
LIST = "given -> write: take\nset up -> write: prepare\n\n# a comment\nexcept docs/old.md\n"


def load() -> ModuleType:
    """Return the script as a module."""
    loader = SourceFileLoader("check_words", str(SCRIPTS / "check-words"))
    spec = spec_from_loader("check_words", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


SCRIPT = load()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("It is given.", 1),
        ("one\nGiven two\n", 2),
        ("test_what_is_given_back", 1),
        ("to set\nup", 1),
        ("# to set\n# up", 1),
        ('"to set "\n    "up"', 1),
        ("is_set_up", 1),
    ],
)
def test_a_word_is_found_wherever_it_stands(text: str, line: int) -> None:
    words, _ = SCRIPT.read_list(LIST)
    assert [at for at, _, _ in SCRIPT.find(text, words)] == [line]


@pytest.mark.parametrize("text", ["forgiven", "givens", "reset up", 'set."""\nup'])
def test_a_part_of_another_word_is_not_found(text: str) -> None:
    words, _ = SCRIPT.read_list(LIST)
    assert list(SCRIPT.find(text, words)) == []


def test_every_word_of_the_list_says_what_to_write() -> None:
    words, excepted = SCRIPT.read_list((SCRIPTS / "words.txt").read_text())
    assert len(words) > 10
    assert all(instead for _, instead in words)
    assert all((SCRIPTS.parent / name).exists() for name in excepted)


def test_no_name_of_a_test_has_more_than_60_characters() -> None:
    files = (SCRIPTS.parent / "tests").rglob("test_*.py")
    named = [name for file in files for name in re.findall(r"def (test_\w+)", file.read_text("utf-8"))]
    assert [name for name in named if len(name) > 60] == []

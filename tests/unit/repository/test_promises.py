"""The pages of guarantees and of security: every row has a footnote, and every test named there exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs/guarantees.md", ROOT / "docs/security.md"]
NAMED = sorted({test for page in PAGES for test in re.findall(r"`(tests/[^`]*)`", page.read_text())})


def names(node: ast.AST) -> set[str]:
    """Return the names of what is defined directly in a module or class."""
    body = getattr(node, "body", [])
    return {child.name for child in body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)}


def defined(path: Path) -> set[str]:
    """Return every test of a file, those in classes with the name of the class."""
    module = ast.parse(path.read_text())
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    return names(module) | {f"{kind.name}::{name}" for kind in classes for name in names(kind)}


@pytest.mark.parametrize("named", NAMED)
def test_a_named_test_exists(named: str) -> None:
    file, _, test = named.partition("::")
    assert (ROOT / file).exists()
    assert not test or test in defined(ROOT / file)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_promise_names_its_tests(page: Path) -> None:
    text = page.read_text()
    rows = re.findall(r"^\| (\*\*.*)", text, re.MULTILINE)
    assert len(rows) > 20
    referred = [re.findall(r"\[\^([\w-]+)\]", row) for row in rows]
    assert [row for row, notes in zip(rows, referred, strict=True) if len(notes) != 1] == []
    notes = dict(re.findall(r"^\[\^([\w-]+)\]: ((?:.+\n)(?:    .+\n)*)", text, re.MULTILINE))
    assert [note for (note,) in referred] == list(notes), "each footnote once, in the order of the rows"
    unproven = [note for note, proof in notes.items() if not re.search(r"tests/|pyproject\.toml", proof)]
    assert unproven == []

"""Every test that the page of guarantees names is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NAMED = sorted(set(re.findall(r"`(tests/[^`]*)`", (ROOT / "docs/GUARANTEES.md").read_text())))


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
def test_a_promise_has_its_proof(named: str) -> None:
    file, _, test = named.partition("::")
    assert (ROOT / file).exists()
    assert not test or test in defined(ROOT / file)


def test_every_row_names_a_proof() -> None:
    rows = [line for line in (ROOT / "docs/GUARANTEES.md").read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith("| promise")]
    assert len(promises) > 20
    assert [row for row in promises if "tests/" not in row and "pyproject.toml" not in row] == []

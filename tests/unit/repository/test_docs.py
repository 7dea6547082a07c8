"""The documentation: every link leads somewhere, every path exists, and the README is short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()}


def anchors(page: Path) -> set[str]:
    """Return what links may name after the `#`: the headings as a forge writes them."""
    headings = re.findall(r"^#+ (.*)", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_path_in_the_text_exists(page: Path) -> None:
    for path in re.findall(r"`((?:\w[\w.-]*/)+[\w.-]*)`", page.read_text("utf-8")):
        if path.split("/")[0] in FOLDERS:
            assert (ROOT / path).exists(), path


def test_every_test_named_in_the_text_exists() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text("utf-8"))}
    assert [name for name in named if f"def {name}(" not in code] == []


def test_the_readme_has_about_700_words() -> None:
    assert 600 <= len((ROOT / "README.md").read_text("utf-8").split()) <= 800


def test_the_index_lists_every_decision() -> None:
    folder = ROOT / "docs/decisions"
    records = sorted(path.name for path in folder.glob("0*.md"))
    assert re.findall(r"\]\((0[^)]*)\)", (folder / "README.md").read_text("utf-8")) == records

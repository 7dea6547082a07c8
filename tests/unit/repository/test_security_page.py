"""Every test that the page on security names is there, and every line names one."""

import re

import pytest

from tests.unit.repository.test_guarantees import ROOT, defined

PAGE = (ROOT / "docs/SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[^`]*)`", PAGE)))


@pytest.mark.parametrize("named", NAMED)
def test_a_protection_has_its_proof(named: str) -> None:
    file, _, test = named.partition("::")
    assert (ROOT / file).exists()
    assert test in defined(ROOT / file)


def test_every_protection_names_a_proof() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    protections = [row for row in rows if not row.startswith("| protection")]
    assert len(protections) > 5
    assert [row for row in protections if "`tests/" not in row] == []

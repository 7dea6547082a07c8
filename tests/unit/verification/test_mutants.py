"""The proofs' mutants patch what exists: a renamed function must be renamed there, too."""

import pytest

from tests.simulation.mutants import mutants
from tests.simulation.mutants.patching import Mutant


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.__name__)
def test_a_mutant_patches_what_exists(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)

"""Every mutant patches what exists and is hunted by a proof, and every invariant is broken by something."""

import pytest

from tests.integration.test_audit import DAMAGES
from tests.simulation.mutants import mutants
from tests.simulation.mutants.patching import Mutant
from tests.simulation.test_mutations import CAUGHT_BY
from tests.simulation.test_search import FOUND_BY
from tests.unit.verification.invariants import test_money, test_order, test_stock, test_world
from verification.invariants.names import Invariant


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.__name__)
def test_a_mutant_patches_what_exists(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)


def test_a_proof_must_find_every_mutant() -> None:
    assert {*CAUGHT_BY} | {mutant for mutant, *_ in FOUND_BY} == {*mutants()}


def test_every_invariant_is_broken_by_a_mutant_or_damage() -> None:
    damaged = {invariant for _, broken in DAMAGES.values() for invariant in broken}
    tables = (test_order.BROKEN, test_stock.BROKEN, test_money.BROKEN, test_world.BROKEN)
    corrupted = {row[0] for table in tables for row in table}
    mutated = {invariant for _, invariant in CAUGHT_BY.values()}
    mutated |= {invariant for *_, invariant in FOUND_BY}
    assert damaged | corrupted | mutated == {*Invariant}

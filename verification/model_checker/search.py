"""Explicit-state search: every reachable state once, breadth first.

Since it is breadth first, the first violation found has the shortest path.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic

from verification.invariants.names import Finding, Invariant
from verification.model_checker.judge import Judge
from verification.model_checker.longest_path import longest_path
from verification.model_checker.model import Services, State
from verification.model_checker.services import ORDER_ID, BrokenReaction
from verification.model_checker.single_order import SingleOrderModel

NO_FAULTS = "none"
"""The name of a search without faults."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found. `complete` is false if it reached its limit of states or ended at a violation."""

    faults: tuple[str, ...]
    states: int
    transitions: int
    quiescent: int
    farthest: int
    """Moves of the shortest path to the state that is farthest from the start."""
    longest: int | None
    """Moves of the longest path. None: there is a cycle, or the search is not complete."""
    seconds: float
    complete: bool
    violation: Finding | None = None
    path_lines: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The faults, as `saga search` accepts them."""
        return ",".join(self.faults) or NO_FAULTS


class Search:
    """One search."""

    def __init__(self, faults: Sequence[str], limit: int, services: Services) -> None:
        self._faults = tuple(faults)
        self._model = SingleOrderModel(faults, services)
        self._judge = Judge(self._model)
        self._limit = limit
        self._states: list[State] = []
        self._numbers: dict[State, int] = {}
        self._parents = array("i")
        self._targets = array("i")
        """Where the fair moves lead, state by state."""
        self._ends_at = array("i")
        self._edges = array("i")
        self._edges_end_at = array("i")
        """The same for all moves."""
        self._quiescent: list[int] = []

    def run(self) -> SearchResult:
        """Explore everything."""
        started = monotonic()
        violation = self._explore()
        complete = violation is None and len(self._ends_at) == len(self._states)
        if complete:
            violation = self._without_exit()
            complete = violation is None
        return SearchResult(
            faults=self._faults,
            states=len(self._states),
            transitions=len(self._edges),
            quiescent=len(self._quiescent),
            farthest=len(self._path(len(self._states) - 1)) - 1,
            longest=longest_path(self._edges_end_at, self._edges) if complete else None,
            seconds=monotonic() - started,
            complete=complete,
            violation=violation[1] if violation else None,
            path_lines=self._path_lines(violation[0]) if violation else [],
        )

    def _explore(self) -> tuple[int, Finding] | None:
        """Visit state after state; return the first that breaks an invariant, with the finding."""
        self._visit(self._model.start(), -1)
        number = 0
        while number < len(self._states) < self._limit:
            try:
                wrong = self._expand(number)
            except BrokenReaction as error:
                wrong = number, Finding(Invariant.NO_CRASH, ORDER_ID, str(error))
            if wrong:
                return wrong
            number += 1
        return None

    def _expand(self, number: int) -> tuple[int, Finding] | None:
        """Make every move from a state; return the first state that breaks an invariant, with the finding."""
        at_rest = True
        for move in self._model.moves(self._states[number]):
            target, new = self._visit(move.after, number)
            self._edges.append(target)
            if new and (wrong := self._judge.wrong(move.after)):
                return target, wrong
            if move.fair:
                at_rest = False
                self._targets.append(target)
        self._ends_at.append(len(self._targets))
        self._edges_end_at.append(len(self._edges))
        if at_rest:
            self._quiescent.append(number)
            if wrong := self._judge.wrong_at_rest(self._states[number]):
                return number, wrong
        return None

    def _visit(self, state: State, parent: int) -> tuple[int, bool]:
        number = self._numbers.setdefault(state, len(self._states))
        new = number == len(self._states)
        if new:
            self._states.append(state)
            self._parents.append(parent)
        return number, new

    def _without_exit(self) -> tuple[int, Finding] | None:
        """Return the first state from which fair moves never lead to rest."""
        ends = bytearray(len(self._states))
        for number in self._quiescent:
            ends[number] = 1
        changed = True
        while changed:
            changed = False
            # Moves lead from earlier states to later ones for the most part, so a sweep backwards does most.
            for number in range(len(self._states) - 1, -1, -1):
                if not ends[number]:
                    first = self._ends_at[number - 1] if number else 0
                    if any(ends[target] for target in self._targets[first : self._ends_at[number]]):
                        ends[number] = 1
                        changed = True
        stuck = ends.find(0)
        if stuck < 0:
            return None
        return stuck, Finding(Invariant.COMES_TO_REST, ORDER_ID, "never comes to rest from here")

    def _path(self, number: int) -> list[int]:
        path = [number]
        while (parent := self._parents[path[-1]]) >= 0:
            path.append(parent)
        return path[::-1]

    def _path_lines(self, number: int) -> list[str]:
        model, path = self._model, self._path(number)
        lines = []
        for step, (before, after) in enumerate(pairwise(path), 1):
            state = self._states[after]
            move = next(one for one in model.moves(self._states[before]) if one.after == state)
            lines.append(f"{step:>3}  {model.describe(move.label):<90}  {model.summary(state)}")
        return lines


def search(faults: Sequence[str], limit: int, services: Services | None = None) -> SearchResult:
    """Search the model of one order with these faults; give up at a limit of states."""
    return Search(faults, limit, services or Services()).run()

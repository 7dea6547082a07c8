"""The longest path through a graph of states."""

from collections.abc import Sequence


def longest_path(ends_at: Sequence[int], targets: Sequence[int]) -> int | None:
    """Return the moves of the longest path from state 0, which leads to all others; None if there is a cycle.

    `targets` are the states that the moves lead to, state by state, and `ends_at` is where those of each
    state end. States are removed in an order in which none comes before one that leads to it (Kahn,
    "Topological sorting of large networks", 1962).
    """
    ways_in = [0] * len(ends_at)
    for target in targets:
        ways_in[target] += 1
    longest = [0] * len(ends_at)
    free = [state for state, ways in enumerate(ways_in) if not ways]
    taken = 0
    while free:
        state = free.pop()
        taken += 1
        for target in targets[ends_at[state - 1] if state else 0 : ends_at[state]]:
            longest[target] = max(longest[target], longest[state] + 1)
            ways_in[target] -= 1
            if not ways_in[target]:
                free.append(target)
    return max(longest) if taken == len(ends_at) else None

"""The services against the adversary: every order ends and all books balance, whatever goes wrong."""

from simulation.schedules import play_all, story
from simulation.world import play

FIRST_SEED = 1
SCHEDULES = 3000


def test_every_order_ends_and_all_books_balance() -> None:
    played = 0
    for result in play_all(range(FIRST_SEED, FIRST_SEED + SCHEDULES)):
        played += 1
        assert not result.violations, story(result)
    assert played == SCHEDULES


def test_a_seed_always_gives_the_same_schedule() -> None:
    first, second = play(7, trace=True), play(7, trace=True)
    assert first == second
    assert "order-1" in first.timeline


def test_looking_changes_nothing() -> None:
    seen, unseen = play(11, trace=True), play(11)
    assert (seen.ends, seen.faults, seen.violations) == (unseen.ends, unseen.faults, unseen.violations)
    assert unseen.timeline == ""

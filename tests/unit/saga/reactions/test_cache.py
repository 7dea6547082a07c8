"""What a process remembers between two batches."""

from datetime import timedelta

from saga.reactions.cache import AggregateCache, PublishedEvents
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate
from tests.support.accounts import Account, account
from tests.support.builders import NOW


def written(key: str, version: int = 1) -> LoadedAggregate[Account]:
    return LoadedAggregate(key, version, account(version), wake_at=NOW + timedelta(days=1))


class TestAggregates:
    def test_what_was_written_is_remembered(self) -> None:
        cache: AggregateCache[Account] = AggregateCache()
        cache.put(written("a"))
        assert cache.get("a") == written("a")
        assert cache.get("b") is None

    def test_changes_of_a_copy_are_not_remembered(self) -> None:
        cache: AggregateCache[Account] = AggregateCache()
        cache.put(written("a"))
        copy = cache.get("a")
        assert copy is not None
        copy.state = account(9)
        copy.journal["e-1"] = JournalEntry("any", NOW, "open")
        assert cache.get("a") == written("a")

    def test_what_needs_nothing_more_is_forgotten(self) -> None:
        cache: AggregateCache[Account] = AggregateCache()
        cache.put(written("a"))
        cache.put(LoadedAggregate("a", 2, account(2)))
        assert cache.get("a") is None

    def test_an_older_version_does_not_replace_a_newer_one(self) -> None:
        cache: AggregateCache[Account] = AggregateCache()
        cache.put(written("a", 3))
        cache.put(written("a", 2))
        assert cache.get("a") == written("a", 3)

    def test_the_oldest_make_room(self) -> None:
        cache: AggregateCache[Account] = AggregateCache(limit=2)
        for key in ("a", "b", "c"):
            cache.put(written(key))
        assert [cache.get(key) is not None for key in ("a", "b", "c")] == [False, True, True]

    def test_a_dropped_one_is_forgotten(self) -> None:
        cache: AggregateCache[Account] = AggregateCache()
        cache.put(written("a"))
        cache.drop("a")
        assert cache.get("a") is None


class TestPublished:
    def test_a_mark_stays_until_it_is_written(self) -> None:
        published = PublishedEvents()
        published.add("a", "e-1")
        published.add("a", "e-2")
        published.forget("a", ["e-1"])
        assert published.of("a") == {"e-2"}
        published.forget("a", ["e-2"])
        assert published.of("a") == set()

    def test_the_oldest_marks_make_room(self) -> None:
        published = PublishedEvents(limit=1)
        published.add("a", "e-1")
        published.add("b", "e-2")
        assert published.of("a") == set()
        assert published.of("b") == {"e-2"}

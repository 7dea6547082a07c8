"""What a store concludes from the database's answers."""

from typing import Any, cast

import pytest
from pymongo.errors import BulkWriteError

from order_service.order import Order
from saga.errors import Unavailable
from saga.mongodb.aggregates import PlainStore
from saga.mongodb.client import DocumentCollection
from saga.mongodb.errors import DUPLICATE_KEY
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate
from tests.support.builders import NOW, order


class Answering:
    """A collection whose bulk writes fail with these details."""

    def __init__(self, **details: Any) -> None:
        self._details = {"writeErrors": [], "writeConcernErrors": [], **details}

    async def bulk_write(self, *_: Any, **__: Any) -> None:
        raise BulkWriteError(self._details)


def changed(key: str) -> LoadedAggregate[Order]:
    entry: LoadedAggregate[Order] = LoadedAggregate(key)
    entry.state = order(order_id=key)
    entry.journal["e-1"] = JournalEntry("placed", NOW, "pending")
    entry.changed = True
    return entry


async def written(**details: Any) -> set[str]:
    """Write two entries to a database that answers with these details."""
    store = PlainStore(cast(DocumentCollection, Answering(**details)), Order, lambda: NOW)
    return await store.write([changed("a"), changed("b")])


STALE = {"index": 0, "code": DUPLICATE_KEY}


async def test_a_duplicate_key_is_a_stale_entry() -> None:
    assert await written(writeErrors=[STALE]) == {"a"}


@pytest.mark.parametrize("failures", [[], [STALE]], ids=["alone", "with a stale entry"])
async def test_an_unconfirmed_majority_write_is_unavailable(failures: list[Any]) -> None:
    with pytest.raises(Unavailable):
        await written(writeErrors=failures, writeConcernErrors=[{"code": 64, "errmsg": "timed out"}])


async def test_a_server_that_steps_down_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await written(writeErrors=[STALE, {"index": 1, "code": 10107}])


async def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(BulkWriteError):
        await written(writeErrors=[STALE, {"index": 1, "code": 121}])


class TestDocuments:
    store = PlainStore(cast(DocumentCollection, None), Order, lambda: NOW)

    def test_what_another_version_has_written_survives(self) -> None:
        document = self.store.document(changed("a"))
        document["state"]["giftWrap"] = {"paper": "red"}
        document["journal"][0]["words"] = "hello"
        entry = self.store.entry(document)
        entry.state = order(order_id="a", status="paid")
        written = self.store.document(entry)
        assert written["state"]["giftWrap"] == {"paper": "red"}
        assert written["state"]["status"] == "paid"
        assert written["journal"][0]["words"] == "hello"
        assert written["version"] == document["version"] + 1

    def test_only_what_has_to_be_woken_is_in_the_index(self) -> None:
        entry = changed("a")
        assert "wakeAt" not in self.store.document(entry)
        entry.wake_at = NOW
        assert self.store.document(entry)["wakeAt"] == NOW

    def test_absent_values_are_not_stored(self) -> None:
        assert None not in self.store.document(changed("a"))["state"].values()

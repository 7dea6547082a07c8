"""What a store makes of the database's answers."""

from typing import Any, cast

import pytest
from pymongo.errors import BulkWriteError

from order_service.order import Order
from saga.errors import Unavailable
from saga.mongodb.aggregates import PlainStore
from saga.mongodb.client import DocumentCollection, connect
from saga.mongodb.errors import DUPLICATE_KEY
from saga.reactions.unit_of_work import JournalEntry, LoadedAggregate
from tests.support.builders import NOW, order


class Answering:
    """A collection whose bulk writes end so."""

    def __init__(self, **details: Any) -> None:
        self._details = {"writeErrors": [], "writeConcernErrors": [], **details}

    async def bulk_write(self, *_: Any, **__: Any) -> None:
        raise BulkWriteError(self._details)


def changed(key: str) -> LoadedAggregate[Order]:
    entry: LoadedAggregate[Order] = LoadedAggregate(key)
    entry.state = order(order_id=key)
    entry.journal["e-1"] = JournalEntry("placed", NOW)
    entry.changed.append("e-1")
    return entry


async def written(**details: Any) -> set[str]:
    """Write two entries to a database that answers so."""
    store = PlainStore(cast(DocumentCollection, Answering(**details)), Order, lambda: NOW)
    return await store.write([changed("a"), changed("b")])


STALE = {"index": 0, "code": DUPLICATE_KEY}


async def test_a_duplicate_key_is_a_stale_entry() -> None:
    assert await written(writeErrors=[STALE]) == {"a"}


@pytest.mark.parametrize("failures", [[], [STALE]], ids=["alone", "beside a stale entry"])
async def test_what_the_majority_may_lose_is_not_written(failures: list[Any]) -> None:
    with pytest.raises(Unavailable):
        await written(writeErrors=failures, writeConcernErrors=[{"code": 64, "errmsg": "timed out"}])


async def test_a_server_that_steps_down_is_away() -> None:
    with pytest.raises(Unavailable):
        await written(writeErrors=[STALE, {"index": 1, "code": 10107}])


async def test_any_other_error_is_a_mistake() -> None:
    with pytest.raises(BulkWriteError):
        await written(writeErrors=[STALE, {"index": 1, "code": 121}])


@pytest.mark.parametrize(
    ("query", "w", "level"), [("", "majority", "majority"), ("?w=2&readConcernLevel=local", 2, "local")]
)
def test_what_counts_as_written_is_left_to_the_url_but_not_to_the_server(
    query: str, w: object, level: str
) -> None:
    client = connect(f"mongodb://one.invalid:1,other.invalid:2/{query}")
    assert (client.write_concern.document["w"], client.read_concern.level) == (w, level)
    client.close()

"""A database for each kind of store."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from saga.mongodb.client import connect, database
from tests.contract.stores import AnyDatabase, MemoryDatabase, MongoDatabase
from tests.support.clock import Clock


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def db(request: pytest.FixtureRequest) -> Iterator[AnyDatabase]:
    if request.param == "memory":
        yield MemoryDatabase(Clock())
        return
    client = connect(request.getfixturevalue("mongodb_url"))
    yield MongoDatabase(Clock(), database(client, f"test_{uuid4().hex[:12]}"))
    client.close()

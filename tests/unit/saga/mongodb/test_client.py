"""The options of a client."""

import pytest

from saga.mongodb.client import connect


@pytest.mark.parametrize(
    ("query", "w", "level"), [("", "majority", "majority"), ("?w=2&readConcernLevel=local", 2, "local")]
)
def test_majority_is_the_default_unless_the_url_says_otherwise(query: str, w: object, level: str) -> None:
    client = connect(f"mongodb://one.invalid:1,other.invalid:2/{query}")
    assert (client.write_concern.document["w"], client.read_concern.level) == (w, level)
    client.close()

"""Publishing over the broker's management API."""

from dataclasses import replace

import pytest

from operations.endpoints import DEFAULTS
from operations.errors import CommandFailed
from operations.manual_publishing import publication, publish_manually
from tests.support.command_line import UNREACHABLE


def test_request_names_the_exchange_in_its_virtual_host() -> None:
    path, message = publication("/", "order.events", "OrderFailed", "{}", {"type": "OrderFailed"})
    assert path == "/api/exchanges/%2F/order.events/publish"
    assert message == {
        "routing_key": "OrderFailed",
        "payload": "{}",
        "payload_encoding": "string",
        "properties": {"type": "OrderFailed"},
    }


async def test_unreachable_broker_is_reported_with_what_to_do() -> None:
    at = replace(DEFAULTS, management=UNREACHABLE)
    with pytest.raises(CommandFailed, match=r"cannot reach http://127\.0\.0\.1:1 .*saga up"):
        await publish_manually(at, "order.events", "OrderFailed", "{}")

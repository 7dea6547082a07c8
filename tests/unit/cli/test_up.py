"""`saga up`: what it prints."""

from dataclasses import replace

from cli.up import where_to_look
from operations.endpoints import DEFAULTS


def test_each_database_server_has_a_line() -> None:
    shown = where_to_look(
        replace(
            DEFAULTS,
            order_mongodb="mongodb://auditor:s3cret@127.0.0.1:1/",
            inventory_mongodb="mongodb://auditor:s3cret@127.0.0.1:2/",
            payment_mongodb="mongodb://auditor:s3cret@127.0.0.1:3/",
        )
    )
    assert shown["Order database"] == "mongodb://auditor:***@127.0.0.1:1/"
    assert shown["Payment database"] == "mongodb://auditor:***@127.0.0.1:3/"
    assert "MongoDB" not in shown


def test_one_server_for_all_has_one_line() -> None:
    shown = where_to_look(DEFAULTS)
    assert shown["MongoDB"] == DEFAULTS.order_mongodb
    assert not [name for name in shown if "database" in name]

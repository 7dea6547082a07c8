"""The users of the databases, by server."""

from events.catalogue import INVENTORY, ORDER, PAYMENT, SERVICES
from operations.access.database_users import AUDITOR, by_server, roles


def test_services_of_one_server_are_set_up_together() -> None:
    assert by_server(dict.fromkeys(SERVICES, "mongodb://root:a@one/")) == {
        "mongodb://root:a@one/": [ORDER, INVENTORY, PAYMENT]
    }


def test_a_server_counts_once_under_several_urls() -> None:
    urls = {
        ORDER: "mongodb://root:a@one:27017,two:27017/?replicaSet=rs0",
        INVENTORY: "mongodb://root:a@three/",
        PAYMENT: "mongodb://other:b@one:27017,two:27017/?replicaSet=rs0&appName=payments",
    }
    assert by_server(urls) == {urls[ORDER]: [ORDER, PAYMENT], urls[INVENTORY]: [INVENTORY]}


def test_the_users_of_a_server_are_its_services_and_the_auditor() -> None:
    assert roles({PAYMENT: "payments"}) == {
        PAYMENT: [{"role": "readWrite", "db": "payments"}],
        AUDITOR: [{"role": "read", "db": "payments"}],
    }

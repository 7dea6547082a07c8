"""RabbitMQ's definitions for the whole system, made from the services' topologies.

Users with their permissions, and all exchanges, queues and bindings, as the broker loads them at its start.
So a broker that has lost its data accepts messages for every service, even for one that is not running yet.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from saga.messaging.topology import Topology
from saga.messaging.users import ADMINISTRATOR, OPERATOR, PUBLISHABLE_BY_ANYONE, PUBLISHER, may_publish

Json = dict[str, Any]

NOTHING = "^$"
TAPS = r"(amq\.gen|tap)[-.].+"
"""Queues of observers: those named by the broker, and those that operators name `tap-...`."""
TAGS = {OPERATOR: ["monitoring"], PUBLISHER: ["management"], ADMINISTRATOR: ["administrator"]}
"""Users of the management UI: `monitoring` sees all connections, `management` only its own."""
SALT_BYTES = 4
"""The length of RabbitMQ's salt."""


def users(topologies: Collection[Topology]) -> list[str]:
    """Return the users that need a password."""
    return [*(topology.service for topology in topologies), OPERATOR, PUBLISHER]


def definitions(topologies: Collection[Topology], passwords: Mapping[str, str], vhost: str = "/") -> Json:
    """Return the definitions of one virtual host, and its users with these passwords, salted and hashed.

    The administrator is only created if it has a password.
    """
    names = users(topologies)
    permissions = [_operator(topologies), _publisher(topologies), *map(_service, topologies)]
    if ADMINISTRATOR in passwords:
        names.append(ADMINISTRATOR)
        permissions.append(_permission(ADMINISTRATOR, ".*", ".*", ".*"))
    return {
        "users": [_user(name, passwords[name]) for name in names],
        "vhosts": [{"name": vhost}],
        "permissions": [{"vhost": vhost, **one} for one in permissions],
        "topic_permissions": [{"vhost": vhost, **one} for one in _topic_permissions(topologies)],
        **_topology(topologies, vhost),
    }


def hashed(password: str, salt: bytes | None = None) -> str:
    """Return a password as RabbitMQ stores it: the salt and the SHA-256 of salt and password, in base 64."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _user(name: str, password: str) -> Json:
    return {
        "name": name,
        "password_hash": hashed(password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": TAGS.get(name, []),
    }


def _service(topology: Topology) -> Json:
    """Return a service's permissions: all on its own objects, and to bind to the exchanges that it reads.

    It also checks whether its readers' queues exist, which RabbitMQ since 4.3.1 only answers to users with a
    permission for them. Permission to write to a queue only allows to bind it to what the user may read.
    """
    own = [re.escape(topology.exchange), rf"{re.escape(topology.service)}(\..+)?"]
    asked = map(re.escape, topology.required_queues)
    return _permission(topology.service, _any(own), _any([*own, *asked]), _any([*own, *_sources(topology)]))


def _operator(topologies: Collection[Topology]) -> Json:
    """Return the operator's permissions: to tap every exchange, publish, and read and replay dead letters."""
    exchanges = [re.escape(topology.exchange) for topology in topologies]
    write = [*exchanges, *(re.escape(topology.return_exchange) for topology in topologies), TAPS]
    read = [*exchanges, *(re.escape(topology.dead_letter_queue) for topology in topologies), TAPS]
    return _permission(OPERATOR, _any([TAPS]), _any(write), _any(read))


def _publisher(topologies: Collection[Topology]) -> Json:
    exchanges = [
        re.escape(topology.exchange)
        for topology in topologies
        if PUBLISHABLE_BY_ANYONE & {*topology.publishes}
    ]
    return _permission(PUBLISHER, NOTHING, _any(exchanges), NOTHING)


def _permission(user: str, configure: str, write: str, read: str) -> Json:
    return {"user": user, "configure": configure, "write": write, "read": read}


def _topic_permissions(topologies: Collection[Topology]) -> list[Json]:
    """Return which events each user may publish and bind to; the operator may all."""
    found = []
    for exchange in topologies:
        for user in (*(topology.service for topology in topologies), PUBLISHER):
            written = [kind for kind in exchange.publishes if may_publish(user, kind)]
            bound = [
                re.escape(key)
                for topology in topologies
                if topology.service == user
                for _, source, key in topology.event_bindings
                if source == exchange.exchange
            ]
            write = rf"^({'|'.join(sorted(written))})(\..*)?$" if written else NOTHING
            read = _any(bound) if bound else NOTHING
            found.append({"user": user, "exchange": exchange.exchange, "write": write, "read": read})
    return found


def _topology(topologies: Collection[Topology], vhost: str) -> Json:
    lasting: Json = {"vhost": vhost, "durable": True, "auto_delete": False}
    bindings: list[Json] = []
    for topology in topologies:
        for queue, exchange, key in (*topology.own_bindings, *topology.event_bindings):
            way = {"source": exchange, "destination": queue, "routing_key": key}
            bindings.append({"vhost": vhost, "destination_type": "queue", "arguments": {}, **way})
    return {
        "exchanges": [
            {"name": name, "type": kind, "internal": False, "arguments": {}, **lasting}
            for topology in topologies
            for name, kind in topology.exchanges.items()
        ],
        "queues": [
            {"name": name, "arguments": dict(arguments), **lasting}
            for topology in topologies
            for name, arguments in topology.queues.items()
        ],
        "bindings": bindings,
    }


def _sources(topology: Topology) -> list[str]:
    return sorted({re.escape(exchange) for _, exchange, _ in topology.event_bindings})


def _any(patterns: Iterable[str]) -> str:
    return f"^({'|'.join(patterns)})$"

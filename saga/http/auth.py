"""Who may call what over HTTP: bearer tokens, each with the scopes it opens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from typing import Literal, get_args

Scope = Literal["orders", "stock", "payments", "operate"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Customers' orders; stock, warehouses, reservations; payments, refunds; books, nudges, metrics."""

_ENTRY = re.compile(r"(?P<scopes>[a-z,]+):(?P<token>[A-Za-z0-9._~+/=-]{24,256})")
_FORM = (
    "scope[,scope...]:token, apart by white space, with the scopes "
    f"{', '.join(SCOPES)} and tokens of 24 to 256 letters, digits and -._~+/="
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who shows a token: what it opens. The token itself is not kept."""

    digest: bytes
    scopes: frozenset[str]


ANYBODY = Caller(b"", frozenset(SCOPES))
"""Who calls a service without tokens, which serves this machine alone."""


class Access:
    """The tokens of a service; without any, everybody may do everything."""

    def __init__(self, callers: Sequence[Caller] = ()) -> None:
        self._callers = tuple(callers)

    @property
    def open(self) -> bool:
        """Nobody has to show a token."""
        return not self._callers

    def caller(self, token: str) -> Caller | None:
        """Return who shows this token.

        Takes as long for every token: each known one is compared, whole and by its digest, so that nobody can
        find one out bit by bit.
        """
        shown = sha256(token.encode()).digest()
        found = [caller for caller in self._callers if compare_digest(caller.digest, shown)]
        return found[0] if found else None


def parse(text: str) -> Access:
    """Read tokens: `orders:TOKEN stock,operate:TOKEN`, on one line or many; `#` begins a comment.

    Raises:
        ValueError: one is malformed or there twice; says which, without showing it.
    """
    callers: list[Caller] = []
    words = [word for line in text.splitlines() for word in line.partition("#")[0].split()]
    for number, word in enumerate(words, 1):
        entry = _ENTRY.fullmatch(word)
        scopes = frozenset(entry["scopes"].split(",")) if entry else frozenset()
        if entry is None or not scopes <= set(SCOPES):
            raise ValueError(f"token {number} is malformed: must be {_FORM}")
        caller = Caller(sha256(entry["token"].encode()).digest(), scopes)
        if caller.digest in [other.digest for other in callers]:
            raise ValueError(f"token {number} is there twice: name all its scopes at once")
        callers.append(caller)
    return Access(callers)


def is_local(host: str) -> bool:
    """Tell whether what listens at an address can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Bearer tokens, each with the scopes that it opens."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from typing import Literal

Scope = Literal["orders", "stock", "payments", "operate"]
SCOPES: Mapping[Scope, str] = {
    "orders": "place, read and cancel orders",
    "stock": "read and change stock, warehouses and reservations",
    "payments": "read, charge and refund payments",
    "operate": "read books and metrics, publish unanswered requests again",
}
"""What each scope opens."""

_ENTRY = re.compile(r"(?P<scopes>[a-z,]+):(?P<token>[A-Za-z0-9._~+/=-]{24,256})")
_FORM = (
    "scope[,scope...]:token, separated by white space, with the scopes "
    f"{', '.join(SCOPES)} and tokens of 24 to 256 letters, digits and -._~+/="
)


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a token, with the scopes that it opens. The token itself is not kept."""

    digest: bytes
    scopes: frozenset[str]


ANONYMOUS = Caller(b"", frozenset(SCOPES))
"""The caller of an open route, or of a service without tokens, which listens on localhost only."""


class Access:
    """The tokens of a service; without any, every caller may do everything."""

    def __init__(self, callers: Sequence[Caller] = ()) -> None:
        self._callers = tuple(callers)

    @property
    def open(self) -> bool:
        """No token is needed."""
        return not self._callers

    def caller(self, token: str) -> Caller | None:
        """Return the holder of this token.

        The time taken does not depend on the token: all known ones are compared, by their digests, so that no
        token can be guessed piece by piece.
        """
        digest = sha256(token.encode()).digest()
        found = [caller for caller in self._callers if compare_digest(caller.digest, digest)]
        return found[0] if found else None


def parse(text: str) -> Access:
    """Read tokens: `orders:TOKEN stock,operate:TOKEN`, on one line or many; `#` begins a comment.

    Raises:
        ValueError: one is malformed or a duplicate; says which, without showing it.
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
            raise ValueError(f"token {number} is a duplicate: name all its scopes in one entry")
        callers.append(caller)
    return Access(callers)


def is_local(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

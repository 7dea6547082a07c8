"""A bounded fuzz run over the event decoder: bytes of every kind, the same for a seed."""

import os
import sys
from collections.abc import Iterator
from random import Random

from events.codec import InvalidEvent, decode, encode
from events.identity import with_defaults
from tests.support.builders import NOW, every_event

SEED = int(os.environ.get("FUZZ_SEED", "1"))
ROUNDS = 20_000
MAX_REASON = 10_000
"""Characters of a reason: it goes into a log, and, cut, into a header."""

PIECES = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
    ),
    *(
        b"NaN",
        b"-Infinity",
        b"1e999999999",
        b"9.9E+999999999999999999",
        b"1e-999999999",
        b"-0",
        b"0.1",
        b"9" * 5000,
        b"true",
        b"null",
        b'""',
    ),
    *(
        b"[" * 5000,
        b'{"a":' * 5000,
        b'"a.#.*"',
        b'"type":"OrderFailed"',
        b'"2026-01-01T00:00:00Z"',
        b" " * 999,
    ),
)


def mutants(seed: int) -> Iterator[bytes]:
    """Yield events that were cut, pasted and flipped, a few times each."""
    dice = Random(f"{seed}/decoder")
    whole = [encode(event) for event in every_event()]
    for _ in range(ROUNDS):
        body = bytearray(dice.choice(whole))
        for _ in range(dice.randrange(1, 5)):
            start = dice.randrange(len(body) + 1)
            end = min(len(body), start + dice.choice((0, 0, 1, 2, 8, 40)))
            other = dice.choice(whole)
            body[start:end] = dice.choice(
                (dice.choice(PIECES), dice.randbytes(3), other[: dice.randrange(80)], b"")
            )
        yield bytes(body)


def test_any_bytes_are_an_event_or_rejected() -> None:
    """Whatever is read is an event that says the same when it is written and read again."""
    sys.stdout.write(f"FUZZ_SEED={SEED}\n")
    read, reasons = 0, []
    for body in mutants(SEED):
        try:
            event = with_defaults(decode(body), NOW)
        except InvalidEvent as why:
            reasons.append(len(str(why)))
        else:
            assert encode(decode(encode(event))) == encode(event), body
            read += 1
    sys.stdout.write(f"{read} read, {len(reasons)} refused, with up to {max(reasons)} characters\n")
    assert min(read, len(reasons)) > ROUNDS // 100
    assert 0 < min(reasons) <= max(reasons) < MAX_REASON

"""How long the body of a request may be."""

from collections.abc import AsyncIterator

from saga.http.body_limit import MAX_BODY
from tests.support.http_api import JSON, SHOP, api, post
from tests.support.services import check_problem


def parcel(length: int) -> bytes:
    empty = b'{"content":""}'
    return empty[:-2] + b"x" * (length - len(empty)) + empty[-2:]


async def test_a_body_of_the_longest_length_is_read() -> None:
    answer = await post(api(), "/orders", f"Bearer {SHOP}", json=None, content=parcel(MAX_BODY), headers=JSON)
    assert (answer.status_code, answer.json()["length"]) == (200, MAX_BODY - 14)


async def test_a_longer_body_is_rejected() -> None:
    answer = await post(
        api(), "/orders", f"Bearer {SHOP}", json=None, content=parcel(MAX_BODY + 1), headers=JSON
    )
    check_problem(answer, 413)


async def test_a_body_announced_as_too_long_is_not_read() -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("a body that is too long was read")
        yield b""

    headers = JSON | {"content-length": str(MAX_BODY + 1)}
    answer = await post(api(), "/orders", f"Bearer {SHOP}", json=None, content=body(), headers=headers)
    check_problem(answer, 413)


async def test_an_unannounced_body_is_read_up_to_the_limit() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * MAX_BODY:
            sent += 10_000
            yield b"x" * 10_000

    answer = await post(api(), "/orders", f"Bearer {SHOP}", json=None, content=endless(), headers=JSON)
    check_problem(answer, 413)
    assert sent <= MAX_BODY + 10_000

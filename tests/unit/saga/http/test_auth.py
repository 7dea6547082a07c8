"""Bearer tokens: how they are read and compared."""

import hmac

import pytest

from saga.http import auth as access
from saga.http.auth import Access, is_local, parse

ONE, TWO, THREE = (name * 8 for name in ("one", "two", "three"))


def scopes(known: Access, token: str) -> set[str] | None:
    caller = known.caller(token)
    return None if caller is None else set(caller.scopes)


def test_a_token_opens_only_its_scopes() -> None:
    known = parse(f"orders:{ONE} stock,operate:{TWO}")
    assert scopes(known, ONE) == {"orders"}
    assert scopes(known, TWO) == {"stock", "operate"}
    assert not known.open


@pytest.mark.parametrize("token", ["", THREE, ONE[:-1], ONE + "x", ONE.upper(), f"orders:{ONE}", "\xe9" * 24])
def test_no_other_token_opens_anything(token: str) -> None:
    assert scopes(parse(f"orders:{ONE}"), token) is None


def test_tokens_are_read_from_many_lines_with_comments() -> None:
    known = parse(f"# the shop\norders:{ONE}\n\n  stock:{TWO} # the warehouse, not orders:{THREE}\n")
    assert (scopes(known, ONE), scopes(known, TWO), scopes(known, THREE)) == ({"orders"}, {"stock"}, None)


@pytest.mark.parametrize("text", ["", "  \n", "# orders:nothing"])
def test_without_tokens_all_is_open(text: str) -> None:
    assert parse(text).open


@pytest.mark.parametrize(
    "wrong",
    [
        ONE,
        f"orders={ONE}",
        f"everything:{ONE}",
        f":{ONE}",
        f"orders,:{ONE}",
        "orders:tooshort",
        f"orders:{'x' * 257}",
        f"orders:{ONE}é",
        f"orders:{ONE}",
    ],
)
def test_a_malformed_token_is_named_by_its_position(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"token 2 is (malformed|a duplicate)") as raised:
        parse(f"orders:{ONE} {wrong}")
    assert ONE not in str(raised.value)
    assert "tooshort" not in str(raised.value)


def test_every_token_is_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[int, int]] = []

    def compare(known: bytes, shown: bytes) -> bool:
        compared.append((len(known), len(shown)))
        return hmac.compare_digest(known, shown)

    monkeypatch.setattr(access, "compare_digest", compare)
    known = parse(f"orders:{ONE} stock:{TWO} operate:{THREE}")
    for token in (ONE, TWO, THREE, "another", ""):
        compared.clear()
        known.caller(token)
        assert compared == [(32, 32)] * 3


def test_the_tokens_themselves_are_not_kept() -> None:
    assert ONE not in repr(vars(parse(f"orders:{ONE}")))


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("", False),
        ("192.168.1.7", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_addresses_are_local(host: str, local: bool) -> None:
    assert is_local(host) is local

"""What compose.yaml gives to whoever starts it."""

import re
from pathlib import Path

from runtime.access import SCOPES, parse

COMPOSE = (Path(__file__).parents[2] / "compose.yaml").read_text()


def test_every_service_asks_for_a_token_which_the_command_shows() -> None:
    (tokens,) = re.findall(r"SAGA_TOKENS: (.*)", COMPOSE)
    (shown,) = re.findall(r"SAGA_TOKEN: (.*)", COMPOSE)
    (default,) = re.findall(r"\$\{SAGA_TOKEN:-(.*)\}", shown)
    assert shown in tokens, "another one takes the place of the default at both ends"
    asked = parse(tokens.replace(shown, default).replace("${SAGA_TOKENS:-}", ""))
    caller = asked.caller(default)
    assert caller is not None
    assert caller.scopes == set(SCOPES)
    for service in ("order", "inventory", "payment"):
        (body,) = re.findall(rf"^  {service}:\n((?:    .*\n)+)", COMPOSE, re.MULTILINE)
        assert "<<: *settings" in body

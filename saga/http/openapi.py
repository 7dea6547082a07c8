"""What FastAPI's OpenAPI document lacks: the security schemes, and the media type of errors."""

from collections.abc import Iterator
from typing import Any

from saga.http.auth import SCOPES
from saga.http.problems import PROBLEM_JSON
from saga.http.security import BEARER


def declare_security(document: dict[str, Any]) -> None:
    """Add the security schemes that the routes refer to."""
    named = {
        name
        for operation in _operations(document)
        for requirement in operation["security"]
        for name in requirement
    }
    document["components"]["securitySchemes"] = {name: _scheme(name) for name in sorted(named)}


def declare_problems(document: dict[str, Any]) -> None:
    """Give the errors of every route the media type of problem details."""
    for operation in _operations(document):
        content = operation["responses"]["default"]["content"]
        content[PROBLEM_JSON] = content.pop("application/json")


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (operation for path in document["paths"].values() for operation in path.values())


def _scheme(name: str) -> dict[str, str]:
    if name == BEARER:
        scopes = "; ".join(f"`{scope}`: {opened}" for scope, opened in SCOPES.items())
        return {
            "type": "http",
            "scheme": "bearer",
            "description": f"A token of SAGA_TOKENS. Scopes: {scopes}",
        }
    return {"type": "apiKey", "in": "header", "name": name}

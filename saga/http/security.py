"""Who may call a route: declared in the route's `openapi_extra`, and enforced from that declaration."""

from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute

from saga.http.auth import ANONYMOUS, Access, Caller, Scope
from saga.http.problems import Problem

BEARER = "bearer"
"""The name of the security scheme of the tokens of `saga.http.auth`."""

Security = list[dict[str, list[str]]]

NO_TOKEN: dict[str, Any] = {"security": []}
"""For a route that needs no token."""


def needs(scope: Scope) -> dict[str, Any]:
    """For a route that needs a bearer token with this scope."""
    return {"security": [{BEARER: [scope]}]}


def own_token(header: str) -> dict[str, Any]:
    """For a route that itself compares a token of its own, sent in this header."""
    return {"security": [{header: []}]}


def declared_security(route: APIRoute) -> Security:
    """Return what a route declares; `saga.http.app.protect` has checked that it does."""
    security: Security = (route.openapi_extra or {})["security"]
    return security


def authorize(request: Request, access: Access, security: Security) -> Caller:
    """Return the caller of a route with this declaration.

    Raises:
        Problem: 401 without a known token, 403 if the token lacks the scope.
    """
    scopes = [requirement[BEARER][0] for requirement in security if BEARER in requirement]
    if access.open or not scopes:
        return ANONYMOUS
    (scope,) = scopes
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise _challenge(401, f"this needs a bearer token with the scope {scope}; `saga` sends SAGA_TOKEN")
    caller = access.caller(token.strip())
    if caller is None:
        raise _challenge(401, "this bearer token is not known here", ', error="invalid_token"')
    if scope not in caller.scopes:
        error = f', error="insufficient_scope", scope="{scope}"'
        raise _challenge(403, f"this bearer token lacks the scope {scope}", error)
    return caller


def caller_of(request: Request) -> Caller:
    """Return the caller of an authorized request."""
    caller: Caller = request.state.caller
    return caller


def _challenge(status: int, detail: str, error: str = "") -> Problem:
    return Problem(status, detail, headers={"WWW-Authenticate": f'Bearer realm="saga"{error}'})

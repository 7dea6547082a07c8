"""The HTTP frame of a service: tokens and exact numbers in, problem details (RFC 9457) out.

Each route says by its `openapi_extra` who may call it: `needs(scope)`, `OPEN`, or `own_token(header)`. What
the OpenAPI document declares is what is enforced.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Message, Receive

from events.codec import MAX_BYTES, InvalidEvent, parse_json
from events.values import Model
from saga.errors import SagaError, Unavailable
from saga.http.auth import ANYBODY, SCOPES, Access, Caller, Scope

log = structlog.get_logger()

MAX_BODY = MAX_BYTES
"""Bytes that a request may bring: as many as an event."""

PREPARED_WITHIN = 5.0
"""Seconds that a request to a starting service waits for its database to be prepared."""

HEALTH = "health"
"""The tag of the routes that tell about the service itself, and answer from the first moment on."""

BEARER = "bearer"
"""The name of the security scheme of the tokens of `saga.http.auth`."""

PROBLEM = "application/problem+json"

OPEN: dict[str, Any] = {"security": []}
"""For a route that anybody may call."""


def needs(scope: Scope) -> dict[str, Any]:
    """For a route that takes a bearer token of this scope."""
    return {"security": [{BEARER: [scope]}]}


def own_token(header: str) -> dict[str, Any]:
    """For a route that compares a token of its own, which comes in this header, by itself."""
    return {"security": [{header: []}]}


class FieldProblem(Model):
    """One field that is wrong."""

    field: str
    message: str


class ProblemDetails(Model):
    """What every error looks like (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = Field(default_factory=list)


class Problem(SagaError):
    """An answer that is an error; `headers` go along."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: list[FieldProblem] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.headers = dict(headers or {})


class _ExactRequest(Request):
    async def json(self) -> Any:
        """Parse the body with amounts kept exact."""
        if not hasattr(self, "_json"):
            try:
                self._json = parse_json(await self.body())
            except InvalidEvent as error:
                raise json.JSONDecodeError(str(error), "", 0) from None
        return self._json


class _Route(APIRoute):
    """Looks at the token before anything of the body is read, and reads no more of that than is allowed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.caller = _admitted(request, self)
            if HEALTH not in self.tags:
                await _prepared(request)
            return await handle(_ExactRequest(request.scope, _limited(request)))

        return guarded


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, with what FastAPI does not know: tokens, and how errors are sent."""
        if self.openapi_schema is None:
            document = super().openapi()
            operations = [operation for path in document["paths"].values() for operation in path.values()]
            named = {name for operation in operations for rule in operation["security"] for name in rule}
            document["components"]["securitySchemes"] = {name: _scheme(name) for name in sorted(named)}
            for operation in operations:
                content = operation["responses"]["default"]["content"]
                content[PROBLEM] = content.pop("application/json")
        return self.openapi_schema or {}


def create_app(title: str, description: str) -> FastAPI:
    """Return an application whose every error is a problem document; `protect` it before it serves."""
    app = _App(
        title=title,
        description=description,
        version="0.1.0",
        responses={"default": {"model": ProblemDetails, "description": "A problem (RFC 9457)"}},
    )
    app.router.route_class = _Route
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Exception, _unexpected)
    return app


def protect(app: FastAPI, access: Access, prepared: asyncio.Event) -> None:
    """Ask callers for these tokens from now on, and have them wait until the service's database is prepared.

    Raises:
        ValueError: a route does not say who may call it.
    """
    for route in app.routes:
        if isinstance(route, APIRoute) and "security" not in (route.openapi_extra or {}):
            raise ValueError(f"{route.path} does not say who may call it: see saga.http.app")
    app.state.access = access
    app.state.prepared = prepared


def caller_of(request: Request) -> Caller:
    """Return who has sent a request that was let in."""
    caller: Caller = request.state.caller
    return caller


def problem_response(problem: Problem, **more: object) -> JSONResponse:
    """Return the answer that a problem is, with members of its own."""
    details = ProblemDetails(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        errors=problem.errors,
    )
    content = {**details.model_dump(by_alias=True, exclude_defaults=True), **more}
    headers = {"Retry-After": "1"} if problem.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return JSONResponse(
        content, status_code=problem.status, media_type=PROBLEM, headers=headers | problem.headers
    )


def _admitted(request: Request, route: APIRoute) -> Caller:
    access: Access = request.app.state.access
    scopes = [rule[BEARER][0] for rule in (route.openapi_extra or {})["security"] if BEARER in rule]
    if access.open or not scopes:
        return ANYBODY
    (scope,) = scopes
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise _refusal(401, f"this takes a bearer token of the scope {scope}; `saga` sends SAGA_TOKEN", "")
    caller = access.caller(token.strip())
    if caller is None:
        raise _refusal(401, "this bearer token is not known here", ', error="invalid_token"')
    if scope not in caller.scopes:
        why = f', error="insufficient_scope", scope="{scope}"'
        raise _refusal(403, f"this bearer token lacks the scope {scope}", why)
    return caller


async def _prepared(request: Request) -> None:
    prepared: asyncio.Event = request.app.state.prepared
    try:
        async with asyncio.timeout(PREPARED_WITHIN):
            await prepared.wait()
    except TimeoutError:
        raise Unavailable("the service is starting, and its database is not prepared yet") from None


def _refusal(status: int, detail: str, why: str) -> Problem:
    return Problem(status, detail, headers={"WWW-Authenticate": f'Bearer realm="saga"{why}'})


def _limited(request: Request) -> Receive:
    """Return what reads the body of a request, as far as it is not too long."""
    too_long = HTTPException(413, f"a request may bring {MAX_BODY} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY:
        raise too_long
    left = MAX_BODY

    async def receive() -> Message:
        nonlocal left
        message = await request.receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_long
        return message

    return receive


def _scheme(name: str) -> dict[str, str]:
    if name == BEARER:
        scopes = f"A token of SAGA_TOKENS; scopes: {', '.join(SCOPES)}"
        return {"type": "http", "scheme": "bearer", "description": scopes}
    return {"type": "apiKey", "in": "header", "name": name}


def _invalid(_: Request, error: Exception) -> JSONResponse:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    errors = [
        FieldProblem(
            field=".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0]),
            message=problem["msg"].removeprefix("Value error, "),
        )
        for problem in problems
    ]
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return problem_response(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors))


def _http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return problem_response(Problem(error.status_code, str(error.detail), headers=headers))


def _methods(request: Request) -> set[str]:
    """Return every method there is for the path of a request; the router names those of one route only."""
    routes: Sequence[BaseRoute] = request.app.routes
    matching = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in matching for method in getattr(route, "methods", None) or ()}


def _problem(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Problem):
        raise error
    return problem_response(error)


def _unavailable(_: Request, error: Exception) -> JSONResponse:
    return problem_response(Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)))


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", path=request.url.path, error=repr(error))
    return problem_response(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected; the log says more"))

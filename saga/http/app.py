"""The HTTP application of a service: who may call each route, which bodies are read, how errors are sent.

Each route declares in its `openapi_extra` who may call it: `needs(scope)`, `NO_TOKEN` or `own_token(header)`
of `saga.http.security`. What the OpenAPI document declares is what is enforced.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute

from saga.errors import Unavailable
from saga.http.auth import Access
from saga.http.body_limit import limited
from saga.http.exact_json import ExactJsonRequest
from saga.http.openapi import declare_problems, declare_security
from saga.http.problems import ProblemDetails, add_problem_handlers
from saga.http.security import authorize, declared_security

PREPARED_WITHIN = 5.0
"""Seconds that a request to a starting service waits for its database to be prepared."""

HEALTH = "health"
"""The tag of the routes about the service itself, which answer before the database is prepared."""


class _Route(APIRoute):
    """Checks the token before it reads any of the body, and reads no more of the body than is allowed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.caller = authorize(request, request.app.state.access, declared_security(self))
            if HEALTH not in self.tags:
                await _until_prepared(request)
            return await handle(ExactJsonRequest(request.scope, limited(request)))

        return guarded


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, with what FastAPI does not know: tokens, and how errors are sent."""
        if self.openapi_schema is None:
            document = super().openapi()
            declare_security(document)
            declare_problems(document)
        return self.openapi_schema or {}


def create_app(title: str, description: str) -> FastAPI:
    """Return an application that answers every error with problem details; `protect` it before it serves."""
    app = _App(
        title=title,
        description=description,
        version="0.1.0",
        responses={"default": {"model": ProblemDetails, "description": "A problem (RFC 9457)"}},
    )
    app.router.route_class = _Route
    add_problem_handlers(app)
    return app


def protect(app: FastAPI, access: Access, prepared: asyncio.Event) -> None:
    """Let these tokens in from now on; hold requests back until the service's database is prepared.

    Raises:
        ValueError: a route does not declare who may call it.
    """
    for route in app.routes:
        if isinstance(route, APIRoute) and "security" not in (route.openapi_extra or {}):
            raise ValueError(f"{route.path} does not declare who may call it: see saga.http.security")
    app.state.access = access
    app.state.prepared = prepared


async def _until_prepared(request: Request) -> None:
    prepared: asyncio.Event = request.app.state.prepared
    try:
        async with asyncio.timeout(PREPARED_WITHIN):
            await prepared.wait()
    except TimeoutError:
        raise Unavailable("the service is starting, and its database is not prepared yet") from None

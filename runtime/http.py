"""The HTTP frame of a service: exact numbers in, problem details (RFC 9457) out."""

import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.exceptions import HTTPException

from events.codec import InvalidEvent, parse_json
from events.fields import Model
from messaging.verdict import Unavailable

log = structlog.get_logger()


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


class Problem(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, detail: str, errors: list[FieldProblem] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []


class _ExactRequest(Request):
    async def json(self) -> Any:
        """Parse the body with amounts kept exact."""
        if not hasattr(self, "_json"):
            try:
                self._json = parse_json(await self.body())
            except InvalidEvent as error:
                raise json.JSONDecodeError(str(error), "", 0) from None
        return self._json


class _ExactRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def exactly(request: Request) -> Response:
            return await handle(_ExactRequest(request.scope, request.receive))

        return exactly


def create_app(title: str, description: str) -> FastAPI:
    """Return an application whose every error is a problem document."""
    app = FastAPI(
        title=title,
        description=description,
        version="0.1.0",
        responses={"default": {"model": ProblemDetails, "description": "A problem (RFC 9457)"}},
    )
    app.router.route_class = _ExactRoute
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Exception, _unexpected)
    return app


def problem_response(problem: Problem, **more: object) -> JSONResponse:
    """Return the answer that a problem is, with members of its own."""
    details = ProblemDetails(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        errors=problem.errors,
    )
    content = {**details.model_dump(by_alias=True, exclude_defaults=True), **more}
    headers = {"Retry-After": "1"} if problem.status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse(
        content, status_code=problem.status, media_type="application/problem+json", headers=headers
    )


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


def _http(_: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    detail = str(error.detail) if isinstance(error, HTTPException) else str(error)
    return problem_response(Problem(status, detail))


def _problem(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Problem):
        raise error
    return problem_response(error)


def _unavailable(_: Request, error: Exception) -> JSONResponse:
    return problem_response(Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)))


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", path=request.url.path, error=repr(error))
    return problem_response(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected; the log says more"))

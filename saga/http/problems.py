"""Errors as problem details (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from events.values import Model
from saga.errors import SagaError, Unavailable

log = structlog.get_logger()

PROBLEM_JSON = "application/problem+json"


class FieldProblem(Model):
    """One field that is wrong."""

    field: str
    message: str


class ProblemDetails(Model):
    """The body of every error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = Field(default_factory=list)


class Problem(SagaError):
    """An answer that is an error, with its status and additional headers."""

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


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every exception with problem details."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Exception, _unexpected)


def problem_response(problem: Problem, **more: object) -> JSONResponse:
    """Return the answer for a problem, with additional members."""
    details = ProblemDetails(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        errors=problem.errors,
    )
    content = {**details.model_dump(by_alias=True, exclude_defaults=True), **more}
    headers = {"Retry-After": "1"} if problem.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return JSONResponse(
        content, status_code=problem.status, media_type=PROBLEM_JSON, headers=headers | problem.headers
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


def _http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return problem_response(Problem(error.status_code, str(error.detail), headers=headers))


def _methods(request: Request) -> set[str]:
    """Return all methods of a request's path; the router names those of one route only."""
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

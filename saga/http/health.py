"""Liveness, readiness and metrics of a service."""

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from saga.errors import Unavailable
from saga.http.app import HEALTH
from saga.http.problems import Problem, problem_response
from saga.http.security import NO_TOKEN, needs


class BrokerStatus(Protocol):
    """What a connection to the broker lacks."""

    @property
    def reading(self) -> bool:
        """Whether the queues of the service are read."""

    @property
    def waits_for(self) -> Collection[str]:
        """The queues that do not exist yet."""

    @property
    def blocked(self) -> bool:
        """Whether the broker blocks publishers."""


class Health:
    """What a service lacks to be ready; `draining` is set when it stops."""

    def __init__(self, broker: BrokerStatus, ping: Callable[[], Awaitable[None]]) -> None:
        self._broker = broker
        self._ping = ping
        self.draining = False

    async def problems(self) -> list[str]:
        """Return what is missing; nothing if the service is ready."""
        problems = ["the service is stopping"] if self.draining else []
        if not self._broker.reading:
            problems.append(f"broker: waiting for {', '.join(self._broker.waits_for) or 'its queues'}")
        if self._broker.blocked:
            problems.append("broker: it blocks publishers")
        try:
            await self._ping()
        except Unavailable as error:
            problems.append(str(error))
        return problems


def add_health(app: FastAPI, health: Health) -> None:
    """Serve `/healthz`, `/readyz` and `/metrics`."""

    @app.get("/healthz", openapi_extra=NO_TOKEN, tags=[HEALTH], summary="The process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        openapi_extra=NO_TOKEN,
        tags=[HEALTH],
        summary="The service can work; 503 names what is missing",
    )
    async def readyz() -> Response:
        problems = await health.problems()
        if problems:
            return problem_response(Problem(503, "; ".join(problems)), problems=problems)
        return JSONResponse({"status": "ready"})

    @app.get(
        "/metrics",
        openapi_extra=needs("operate"),
        tags=[HEALTH],
        summary="Prometheus metrics",
        response_class=Response,
    )
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

"""An HTTP application with a route of each kind, and calls to it."""

import asyncio
from typing import Annotated, Any

import httpx
from fastapi import Depends, FastAPI, Header, Request

from events.values import Model
from saga.http.app import HEALTH, create_app, protect
from saga.http.auth import parse
from saga.http.problems import Problem
from saga.http.rate_limit import RateLimit
from saga.http.security import NO_TOKEN, caller_of, needs, own_token

SHOP, WAREHOUSE, STRANGER = ("shop-" * 5, "warehouse-" * 3, "stranger-" * 3)
TOKENS = f"orders:{SHOP} stock:{WAREHOUSE}"
JSON = {"content-type": "application/json"}
LIMIT = 20.0


class Parcel(Model):
    """A body."""

    content: str


def already_prepared() -> asyncio.Event:
    """Return an event that is set: the database is prepared."""
    prepared = asyncio.Event()
    prepared.set()
    return prepared


def api(tokens: str = TOKENS, prepared: asyncio.Event | None = None) -> FastAPI:
    """Return an application with a route of each kind."""
    app = create_app("Test", "For tests.")

    @app.get("/open", openapi_extra=NO_TOKEN)
    async def open_() -> dict[str, str]:
        return {}

    @app.post("/orders", openapi_extra=needs("orders"))
    async def order(parcel: Parcel, request: Request) -> dict[str, Any]:
        return {"length": len(parcel.content), "scopes": sorted(caller_of(request).scopes)}

    @app.get("/orders", openapi_extra=needs("orders"))
    async def orders() -> dict[str, str]:
        return {}

    @app.post(
        "/limited", openapi_extra=needs("orders"), dependencies=[Depends(RateLimit(1, 2, clock=lambda: 0))]
    )
    async def limited() -> dict[str, str]:
        return {}

    @app.post("/webhooks/test", openapi_extra=own_token("x-callback-token"))
    async def webhook(x_callback_token: Annotated[str, Header()] = "") -> dict[str, str]:
        if x_callback_token != "its own":
            raise Problem(401, "not the token of this webhook")
        return {}

    @app.get("/health", openapi_extra=NO_TOKEN, tags=[HEALTH])
    async def health() -> dict[str, str]:
        return {}

    protect(app, parse(tokens), prepared or already_prepared())
    return app


def client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def post(app: FastAPI, path: str, token: str | None = None, **sent: Any) -> httpx.Response:
    headers = {} if token is None else {"Authorization": token}
    sent.setdefault("json", {"content": "tea"})
    async with asyncio.timeout(LIMIT), client(app) as http:
        return await http.post(path, headers=headers | sent.pop("headers", {}), **sent)

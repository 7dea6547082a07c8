"""Stock levels and warehouses over HTTP, and requests that are rejected."""

from uuid import uuid4

import httpx
import pytest

from tests.integration.inventory_service.driver import InventoryDriver, body
from tests.support.services import ServiceProcess, check_problem


async def test_stock_levels_are_set_and_read(inventory: InventoryDriver) -> None:
    tea = inventory.put_stock(berlin=10)
    await inventory.hold(tea, 2)
    level = inventory.http.get("/stock", params={"productId": tea}).json()["stock"][0]
    assert level == {
        "warehouseId": "berlin",
        "productId": tea,
        "available": 8,
        "reserved": 2,
        "allocated": 0,
        "owned": 10,
        "version": level["version"],
    }
    old = f'"{level["version"] - 1}"'
    check_problem(put_level(inventory, tea, 5, old), 412)
    check_problem(put_level(inventory, "never-shelved", 5, '"1"'), 412)
    assert inventory.level(tea) == (8, 2, 0)
    changed = put_level(inventory, tea, 5, f'"{level["version"]}"')
    assert changed.status_code == 200
    assert (changed.json()["available"], changed.json()["reserved"]) == (5, 2)
    assert changed.headers["etag"] == f'"{level["version"] + 1}"'
    assert put_level(inventory, tea, 8, changed.headers["etag"]).json()["available"] == 8
    everywhere = inventory.http.get("/stock").json()["stock"]
    assert tea in [row["productId"] for row in everywhere]
    inventory.put_stock(lisbon=1)
    in_lisbon = inventory.http.get("/stock", params={"warehouseId": "lisbon"}).json()["stock"]
    assert {row["warehouseId"] for row in in_lisbon} == {"lisbon"}
    assert inventory.http.get("/stock", params={"productId": "never-shelved"}).json() == {"stock": []}


def put_level(inventory: InventoryDriver, product: str, available: int, version: str) -> httpx.Response:
    return inventory.http.put(
        f"/stock/berlin/{product}", json={"available": available}, headers={"If-Match": version}
    )


async def test_warehouses_are_added_and_changed(inventory: InventoryDriver) -> None:
    added = {"warehouseId": f"w-{uuid4().hex[:8]}", "location": {"latitude": 1.5, "longitude": 2}}
    answer = inventory.http.put("/warehouses", json={"warehouses": [added]})
    assert answer.status_code == 200
    listed = inventory.http.get("/warehouses").json()["warehouses"]
    assert answer.json()["warehouses"] == listed
    assert {**added, "name": None} in listed
    assert {"berlin", "lisbon", added["warehouseId"]} <= {row["warehouseId"] for row in listed}
    renamed = {**added, "name": "Renamed"}
    inventory.http.put("/warehouses", json={"warehouses": [renamed]}).raise_for_status()
    listed = inventory.http.get("/warehouses").json()["warehouses"]
    assert [row for row in listed if row["warehouseId"] == added["warehouseId"]] == [renamed]


async def test_no_warehouses_at_all_change_nothing(inventory: InventoryDriver) -> None:
    listed = inventory.http.get("/warehouses").json()
    answer = inventory.http.put("/warehouses", json={"warehouses": []})
    assert answer.status_code == 200, answer.text
    assert answer.json() == listed


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/reservations/unknown"),
        ("POST", "/reservations/unknown/confirm"),
        ("POST", "/reservations/unknown/release"),
        ("PUT", "/stock/atlantis/tea"),
        ("GET", "/nowhere"),
    ],
)
def test_an_unknown_id_is_not_found(service: ServiceProcess, method: str, path: str) -> None:
    content = {"available": 1} if method == "PUT" else None
    check_problem(service.http.request(method, path, json=content), 404)


INVALID_HOLDS: dict[str, tuple[dict[str, object], str]] = {
    "no user": ({"userId": None}, "userId"),
    "no items": ({"items": []}, "items"),
    "a line twice": ({"items": [{"productId": "tea", "quantity": 1}] * 2}, "items"),
    "a quantity of zero": ({"items": [{"productId": "tea", "quantity": 0}]}, "items.0.quantity"),
    "a fractional quantity": (
        {"items": [{"productId": "tea", "quantity": 1.5}]},
        "items.0.quantity",
    ),
    "a huge quantity": ({"items": [{"productId": "tea", "quantity": 10**9}]}, "items.0.quantity"),
    "an id with a dot": ({"items": [{"productId": "a.b", "quantity": 1}]}, "items.0.productId"),
    "an order id that is too long": ({"orderId": "o" * 65}, "orderId"),
    "an amount of zero": ({"totalAmount": "0"}, "totalAmount"),
    "an amount that is no number": ({"totalAmount": "much"}, "totalAmount"),
    "an invalid currency": ({"currency": "euro"}, "currency"),
    "an unknown field": ({"totalAmuont": "1.00"}, "totalAmuont"),
    "an invalid location": ({"userLocation": {"latitude": 91, "longitude": 0}}, "userLocation.latitude"),
    "a hold of zero seconds": ({"expiresIn": 0}, "expiresIn"),
}


@pytest.mark.parametrize("case", INVALID_HOLDS)
def test_an_invalid_hold_is_rejected_by_field(service: ServiceProcess, case: str) -> None:
    change, field = INVALID_HOLDS[case]
    check_problem(service.http.post("/reservations", json={**body("tea"), **change}), 422, field)


INVALID_PUTS: dict[str, tuple[str, object, str]] = {
    "less than zero": ("/stock/berlin/tea", {"available": -1}, "available"),
    "too much": ("/stock/berlin/tea", {"available": 10**13}, "available"),
    "no level": ("/stock/berlin/tea", {}, "available"),
    "an unknown field": ("/stock/berlin/tea", {"available": 1, "reserved": 1}, "reserved"),
    "a product with a dot": ("/stock/berlin/a.b", {"available": 1}, "product_id"),
    "a warehouse without a location": (
        "/warehouses",
        {"warehouses": [{"warehouseId": "w"}]},
        "warehouses.0.location",
    ),
    "a warehouse with a dot": (
        "/warehouses",
        {"warehouses": [{"warehouseId": "a.b", "location": {"latitude": 0, "longitude": 0}}]},
        "warehouses.0.warehouseId",
    ),
}


@pytest.mark.parametrize("case", INVALID_PUTS)
def test_an_invalid_level_or_warehouse_is_rejected_by_field(service: ServiceProcess, case: str) -> None:
    path, content, field = INVALID_PUTS[case]
    check_problem(service.http.put(path, json=content), 422, field)


def test_an_invalid_version_is_rejected(service: ServiceProcess) -> None:
    answer = service.http.put("/stock/berlin/tea", json={"available": 1}, headers={"If-Match": "newest"})
    check_problem(answer, 422)


@pytest.mark.parametrize("path", ["/reservations/a.b", f"/reservations/{'x' * 65}", "/stock?productId=a.b"])
def test_a_malformed_id_is_rejected(service: ServiceProcess, path: str) -> None:
    check_problem(service.http.get(path), 422)


def test_openapi_and_metrics_are_served(service: ServiceProcess) -> None:
    paths = service.http.get("/openapi.json").json()["paths"]
    assert {
        "/reservations",
        "/reservations/{reservation_id}",
        "/reservations/{reservation_id}/confirm",
        "/reservations/{reservation_id}/release",
        "/stock",
        "/stock/{warehouse_id}/{product_id}",
        "/warehouses",
    } <= paths.keys()
    assert 'saga_events_total{outcome="handled",service="inventory_service"' in (
        service.http.get("/metrics").text
    )

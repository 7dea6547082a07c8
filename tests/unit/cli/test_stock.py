"""`saga stock`: what it prints, exports and imports."""

import json
from pathlib import Path

import httpx
import pytest

from cli import main
from operations.client import Json
from tests.support.command_line import Answer, one_line, runner

LEVEL: Json = {
    "warehouseId": "berlin",
    "productId": "tea",
    "available": 8,
    "reserved": 1,
    "allocated": 2,
    "version": 3,
}


def test_levels_are_shown(answer: Answer) -> None:
    answer(lambda _: httpx.Response(200, json={"stock": [LEVEL]}))
    shown = runner.invoke(main.app, ["stock", "show", "--product", "tea"])
    assert shown.stdout.splitlines()[-1].split() == ["berlin", "tea", "8", "1", "2"]
    printed = runner.invoke(main.app, ["stock", "show", "--json"])
    assert json.loads(printed.stdout) == {"stock": [LEVEL]}


def test_an_export_is_an_import(answer: Answer, tmp_path: Path) -> None:
    puts: list[tuple[str, str | None, object]] = []

    def serve(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            body = json.loads(request.content)
            puts.append((request.url.path, request.headers.get("If-Match"), body))
        return httpx.Response(200, json={"stock": [LEVEL]})

    answer(serve)
    file = str(tmp_path / "stock.csv")
    assert runner.invoke(main.app, ["stock", "export", file]).exit_code == 0
    printed = runner.invoke(main.app, ["stock", "export"])
    assert printed.stdout == Path(file).read_text()
    assert printed.stdout.splitlines()[1] == "berlin,tea,8,1,2,3"
    assert runner.invoke(main.app, ["stock", "import", file]).exit_code == 0
    assert runner.invoke(main.app, ["stock", "import", file, "--force"]).exit_code == 0
    path, body = "/stock/berlin/tea", {"available": 8}
    assert puts == [(path, '"3"', body), (path, None, body)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("warehouseId,productId\n", "missing: available"),
        ("", "missing: warehouseId, productId, available"),
        ("warehouseId,productId,available\nberlin,tea,many\n", "line 2: available: 'many' is not a number"),
        ("warehouseId,productId,available\nberlin,tea,-1\n", "line 2: available: '-1' is not a number"),
        ("warehouseId,productId,available\nber lin,tea,1\n", "line 2: warehouseId: "),
        ("warehouseId,productId,available\nberlin,tea\n", "line 2: available: Field required"),
        ("warehouseId,productId,available\nberlin,tea,1,2\n", "line 2: has more fields"),
        (
            "warehouseId,productId,available\nberlin,tea,1\nberlin,tea,2\n",
            "line 3: tea at berlin stands twice",
        ),
    ],
)
def test_invalid_file_imports_nothing(answer: Answer, tmp_path: Path, text: str, message: str) -> None:
    answer(lambda request: pytest.fail(f"sent {request}"))
    file = tmp_path / "stock.csv"
    file.write_text(text)
    result = runner.invoke(main.app, ["stock", "import", str(file)])
    assert result.exit_code == 1
    assert message in one_line(result.stderr)


def test_changed_level_is_reported_and_others_are_set(answer: Answer, tmp_path: Path) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/tea"):
            return httpx.Response(412, json={"title": "Precondition Failed", "detail": "another version"})
        return httpx.Response(200, json=LEVEL)

    answer(serve)
    file = tmp_path / "stock.csv"
    file.write_text("warehouseId,productId,available,version\nberlin,tea,1,1\nberlin,mug,1,1\n")
    result = runner.invoke(main.app, ["stock", "import", str(file)])
    assert result.exit_code == 1
    assert "tea at berlin: Precondition Failed: another version" in result.stderr
    assert "mug at" not in result.stderr


def test_empty_stock_suggests_saga_seed(answer: Answer) -> None:
    answer(lambda _: httpx.Response(200, json={"stock": []}))
    assert "saga seed" in runner.invoke(main.app, ["stock", "show"]).stdout


def test_negative_units_are_rejected() -> None:
    result = runner.invoke(main.app, ["stock", "set", "berlin", "tea", "--", "-1"])
    assert result.exit_code == 2

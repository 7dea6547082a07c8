"""Stock levels as a CSV file; all lines are validated before the first level is set."""

import asyncio
import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TextIO

from pydantic import ValidationError

from events.codec import describe
from events.types import Count, Id
from events.values import Model
from operations.client import Json, SagaClient
from operations.errors import CommandFailed

COLUMNS = ("warehouseId", "productId", "available", "reserved", "allocated", "version")
NEEDED = COLUMNS[:3]
CONCURRENT_REQUESTS = 16


class StockLine(Model):
    """One line of an import; with a version, the level is set only if it still has that one."""

    warehouse_id: Id
    product_id: Id
    available: Count
    version: Count | None = None


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that the service rejected, and why."""

    line: StockLine
    reason: str


def write(levels: Iterable[Json], file: TextIO) -> None:
    """Write levels, with a heading."""
    rows = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    rows.writerows(levels)


def read(file: TextIO) -> list[StockLine]:
    """Read every line, without the columns `reserved` and `allocated`, which cannot be set.

    Raises:
        CommandFailed: names each invalid line, and why.
    """
    rows = csv.DictReader(file)
    missing = [name for name in NEEDED if name not in (rows.fieldnames or ())]
    if missing:
        raise CommandFailed(f"the first line must name the columns; missing: {', '.join(missing)}")
    lines: dict[tuple[str, str], StockLine] = {}
    problems: list[str] = []
    for row in rows:
        try:
            line = _line(row)
        except ValueError as error:
            problems.append(f"line {rows.line_num}: {error}")
            continue
        if lines.setdefault((line.warehouse_id, line.product_id), line) is not line:
            problems.append(f"line {rows.line_num}: {line.product_id} at {line.warehouse_id} stands twice")
    if problems:
        raise CommandFailed("nothing was imported: " + "; ".join(problems))
    return list(lines.values())


async def send(services: SagaClient, lines: list[StockLine], done: Callable[[], None]) -> list[RejectedLine]:
    """Set these levels; return those that were rejected. `done` is called after each."""
    gate = asyncio.Semaphore(CONCURRENT_REQUESTS)

    async def put(line: StockLine) -> RejectedLine | None:
        try:
            async with gate:
                await services.set_stock(line.warehouse_id, line.product_id, line.available, line.version)
        except CommandFailed as error:
            return RejectedLine(line, str(error))
        finally:
            done()
        return None

    return [rejected for rejected in await asyncio.gather(*map(put, lines)) if rejected]


def _line(row: dict[str, str | None]) -> StockLine:
    if None in row:
        raise ValueError("has more fields than the first line")
    filled = {
        name: text.strip() for name, text in row.items() if text and name not in ("reserved", "allocated")
    }
    numbers = {name: _number(name, filled[name]) for name in ("available", "version") if name in filled}
    try:
        return StockLine.model_validate({**filled, **numbers})
    except ValidationError as error:
        raise ValueError(describe(error)) from None


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name}: {text!r} is not a number of units")
    return int(text)

"""The time."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the time in UTC, to the millisecond as the database stores it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)

"""The driver's errors: which of them mean that the database is unavailable, and what a person can do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)

from saga.errors import Unavailable

DUPLICATE_KEY = 11000
# Not authorized, authentication failed.
_REJECTED = {13, 18}
# The server is reachable but cannot serve now: shutting down, stepping down, no primary.
_NOT_NOW = {11600, 11602, 10107, 13435, 13436, 189, 91, 7, 6, 89, 9001, 262}


@contextmanager
def translate_driver_errors() -> Iterator[None]:
    """Raise `Unavailable` for every error of the driver that says so; other errors pass unchanged."""
    try:
        yield
    except (ConnectionFailure, ExecutionTimeout) as error:
        raise Unavailable(_reason(error)) from error
    except OperationFailure as error:
        if error.code in _NOT_NOW | _REJECTED:
            raise Unavailable(_reason(error)) from error
        raise


@contextmanager
def explain_driver_errors(what_failed: str) -> Iterator[None]:
    """Raise `Unavailable` for every error of the driver, in one line for the person at the terminal."""
    try:
        yield
    except PyMongoError as error:
        reason = explain_rejection(error) or f"{what_failed} ({first_line(error)}): is it running?"
        raise Unavailable(reason) from None


def stale_writes(error: BulkWriteError) -> set[int]:
    """Return the positions of the writes that failed because another writer changed the document first.

    Raises:
        Unavailable: the server cannot serve now, or a majority has not confirmed.
        BulkWriteError: a write failed for another reason.
    """
    failures = error.details["writeErrors"]
    unconfirmed = error.details["writeConcernErrors"] or not failures
    if unconfirmed or any(failure["code"] in _NOT_NOW for failure in failures):
        raise Unavailable(f"the database is unavailable: {error.details}") from error
    if any(failure["code"] != DUPLICATE_KEY for failure in failures):
        raise error
    return {failure["index"] for failure in failures}


def explain_rejection(error: PyMongoError) -> str | None:
    """Explain a rejection that retrying cannot fix; None if the database is merely unreachable."""
    text = first_line(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            f"the database's certificate is not accepted ({text}): MONGODB_CA_FILE has to name the authority "
            "that issued it, and the URL a host that is named in it"
        )
    # After a failed login, the driver reports a server that cannot be found.
    if getattr(error, "code", None) in _REJECTED or "authentication failed" in text.lower():
        return f"the database refuses ({text}): to create the user and its rights, run `saga database users`"
    return None


def first_line(error: PyMongoError) -> str:
    """Return the driver's message without the details that it appends."""
    return re.split(r"\n|, Timeout:|, full error:", str(error))[0] or type(error).__name__


def _reason(error: PyMongoError) -> str:
    return explain_rejection(error) or f"the database is unavailable: {first_line(error)}"

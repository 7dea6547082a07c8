"""Reservations and stock levels, written together or not at all, and the errors of that."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from pymongo import UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, ConnectionFailure, PyMongoError

from saga.errors import SagaError, Unavailable
from saga.mongodb.aggregates import Write
from saga.mongodb.client import Document
from saga.mongodb.errors import stale_writes

log = structlog.get_logger()

COMMIT_TRIES = 5


class LostRace(SagaError):
    """Another writer changed the same documents first; nothing was written."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """Makes writes in transactions of one session, one at a time; each call blocks until it has ended."""

    reservations: Collection[Document]
    levels: Collection[Document]
    session: ClientSession

    def __call__(self, writes: Sequence[Write], stock_writes: Sequence[UpdateOne]) -> None:
        """Make all of these writes or none.

        Raises:
            LostRace: another writer was faster.
            Unavailable: it is unknown whether they were made.
            PyMongoError: another error of the driver; they were not made.
        """
        self.session.start_transaction()
        try:
            self.reservations.bulk_write(list(writes), ordered=False, session=self.session)
            if stock_writes:
                result = self.levels.bulk_write(list(stock_writes), ordered=False, session=self.session)
                if result.matched_count != len(stock_writes):
                    raise LostRace
            self._commit()
        except BulkWriteError as error:
            self._abort()
            if _lost_race(error) or stale_writes(error):
                raise LostRace from error
            raise
        except PyMongoError as error:
            self._abort()
            if _lost_race(error):
                raise LostRace from error
            raise
        except BaseException:
            self._abort()
            raise

    def _commit(self) -> None:
        # While it is unknown whether the commit was done, only the commit may be repeated.
        for _ in range(COMMIT_TRIES):
            try:
                return self.session.commit_transaction()
            except PyMongoError as error:
                if not error.has_error_label("UnknownTransactionCommitResult"):
                    raise
                log.warning("commit_in_doubt", error=str(error))
        raise Unavailable("it is unknown whether a transaction was committed")

    def _abort(self) -> None:
        try:
            self.session.abort_transaction()
        except PyMongoError as error:  # it has ended, or the server will end it
            log.debug("abort_failed", error=str(error))


def _lost_race(error: PyMongoError) -> bool:
    """Return whether the transaction may be tried again at once; not if the database is unavailable."""
    return error.has_error_label("TransientTransactionError") and not isinstance(error, ConnectionFailure)

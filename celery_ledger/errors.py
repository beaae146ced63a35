"""The ledger's exceptions, and which database errors are Postgres' own trouble."""

from celery.exceptions import Ignore, SoftTimeLimitExceeded
from django.db import Error, InterfaceError, OperationalError
from kombu.exceptions import EncodeError

# https://www.postgresql.org/docs/current/errcodes-appendix.html
CLASSES = ("08", "25", "40", "53", "57", "58", "XX")  # connection, transaction, resources, …
# insufficient_privilege: a hosted database that is full forbids to write; lock_not_available
CODES = ("42501", "55P03")
# in_failed_sql_transaction: the code swallowed an error and went on; in class 25, but no trouble
OUR_FAULT = ("25P02",)


class CannotBeStored(EncodeError, ValueError):
    """The arguments or the options of a call cannot be kept in a row: not JSON, or too large."""


class LeaseLost(Exception):
    """The job was rescued while this attempt worked on it: only a later claim may settle it."""


class OneByOne(Ignore):  # type: ignore[misc]
    """The attempts of a batch are rolled back, since one of them did not end well: each will be
    made by itself.
    """


class Expired(Exception):
    """The job's `expires` has passed before anybody began it."""


class ConnectionClosed(RuntimeError):
    """The connection of a settling transaction was closed inside it."""

    def __init__(self) -> None:
        super().__init__(
            "The body closed the connection of its own transaction. "
            "Leave that to the ledger, or do it outside: atomic=False, and not in settle()."
        )


class NotAnException(Exception):
    """A body raised something that is no `Exception`, like `asyncio.CancelledError`, which would
    have ended the process. The job is dead of it; it is the `__cause__` of this exception.
    """


def in_trouble(exc: BaseException | None) -> bool:
    """Whether this error says that Postgres cannot be reached, may not write, has no room or gave a
    statement up: the same statement may succeed later.

    The SQLSTATE decides and not the Python class of the error, since a standby or a full disk may
    answer with errors of any class.
    """
    if not isinstance(exc, Error):
        return False
    sqlstate = getattr(exc.__cause__, "sqlstate", None)
    if sqlstate is None:  # the error was made here: no answer came from Postgres
        return isinstance(exc, OperationalError | InterfaceError)
    return sqlstate not in OUR_FAULT and (sqlstate[:2] in CLASSES or sqlstate in CODES)


def is_passing(exc: BaseException) -> bool:
    """Whether the error is no fault of the code that met it, and may be gone at the next try: a
    soft time limit, or trouble with Postgres.
    """
    return isinstance(exc, SoftTimeLimitExceeded) or in_trouble(exc)

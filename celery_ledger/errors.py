"""What ends an attempt beside the body's own errors, what a call is refused with, and whether
Postgres is at fault.
"""

from celery.exceptions import Ignore, SoftTimeLimitExceeded
from django.db import Error, InterfaceError, OperationalError
from kombu.exceptions import EncodeError

# https://www.postgresql.org/docs/current/errcodes-appendix.html
CLASSES = ("08", "25", "40", "53", "57", "58", "XX")
CODES = ("42501", "55P03")  # insufficient_privilege, as on a plan that is full; lock_not_available
OUR_FAULT = ("25P02",)  # in_failed_sql_transaction: whoever swallowed the error before went on


class CannotBeStored(EncodeError, ValueError):
    """The arguments of a call, or its options, are nothing that a row holds."""


class LeaseLost(Exception):
    """The job was rescued while we worked on it; whoever holds it now settles it."""


class OneByOne(Ignore):  # type: ignore[misc]
    """A batch comes to nothing: one of its attempts ended otherwise than well."""


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
    """A body raised what is none, like `asyncio.CancelledError`, and would have ended the process.
    The error that its job is dead of is the cause.
    """


def in_trouble(exc: BaseException | None) -> bool:
    """True for an error of a Postgres that cannot be reached, may not write or has no room, or gave
    a statement up: whoever asked may ask again later. It is told by SQLSTATE and not by Python's
    class of the error, since a standby or a full disk may answer with any of them.
    """
    if not isinstance(exc, Error):
        return False
    sqlstate = getattr(exc.__cause__, "sqlstate", None)
    if sqlstate is None:  # nothing came from Postgres
        return isinstance(exc, OperationalError | InterfaceError)
    return sqlstate not in OUR_FAULT and (sqlstate[:2] in CLASSES or sqlstate in CODES)


def is_passing(exc: BaseException) -> bool:
    """Whether it passes by itself, and is no fault of what it strikes."""
    return isinstance(exc, SoftTimeLimitExceeded) or in_trouble(exc)

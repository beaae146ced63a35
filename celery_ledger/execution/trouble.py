"""Whether Postgres is at fault: then whoever asked for something may ask again later.

It is told by SQLSTATE and not by Python's class of the error: a standby or a full disk may answer
with any of them.
"""

from django.db import Error, InterfaceError, OperationalError

# https://www.postgresql.org/docs/current/errcodes-appendix.html
CLASSES = ("08", "25", "40", "53", "57", "58", "XX")
CODES = ("42501", "55P03")  # insufficient_privilege, as on a plan that is full; lock_not_available
OUR_FAULT = ("25P02",)  # in_failed_sql_transaction: whoever swallowed the error before went on


def in_trouble(exc: BaseException | None) -> bool:
    """True for an error of a Postgres that cannot be reached, may not write or has no room, or gave
    a statement up.
    """
    if not isinstance(exc, Error):
        return False
    sqlstate = getattr(exc.__cause__, "sqlstate", None)
    if sqlstate is None:  # nothing came from Postgres
        return isinstance(exc, OperationalError | InterfaceError)
    return sqlstate not in OUR_FAULT and (sqlstate[:2] in CLASSES or sqlstate in CODES)

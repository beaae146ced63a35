"""What ends an attempt beside the body's own errors, and what a call is refused with."""

from celery.exceptions import Ignore
from kombu.exceptions import EncodeError


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

"""How a process takes the file of an import: one of its few places, and room on its disk."""

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from uuid import UUID

from django.conf import settings
from django.http import UnreadablePostError

from values.refused import Refused, Sentence

log = logging.getLogger(__name__)
YOURS_IS_READ = Sentence(
    "A file of yours is being read. Send the next one when it has been answered."
)
MANY_ARE_READ = Sentence("As many files as can be are being read. Nothing was written; try again.")
NO_ROOM = Sentence(
    "There is no room for the file just now. Nothing was written; try again with the same key."
)


def place_for(client: UUID) -> AbstractContextManager[None]:
    """A place of this process, as `Places.place_for` gives it."""
    return _reading.place_for(client)


class Places:
    """How many files a process reads at once: each keeps a thread and a core busy that others wait
    for.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._taken: set[UUID] = set()  # by clients
        self._lock = threading.Lock()

    @contextmanager
    def place_for(self, client: UUID) -> Iterator[None]:
        """One for each client. Refuses with `too-many-imports` when the client has one, and with
        `unavailable` when all are taken.
        """
        again = settings.IMPORT_RETRY_AFTER_S
        with self._lock:
            if client in self._taken:
                raise Refused("too-many-imports", YOURS_IS_READ, retry_after_s=again)
            if len(self._taken) >= self._free:
                raise Refused("unavailable", MANY_ARE_READ, retry_after_s=again)
            self._taken.add(client)
        try:
            yield
        finally:
            with self._lock:
                self._taken.remove(client)


_reading = Places(settings.IMPORT_PLACES)


@contextmanager
def room_on_the_disk() -> Iterator[None]:
    """Refuses with `unavailable` when there is none for the file that the block writes."""
    try:
        yield
    except UnreadablePostError:
        raise
    except OSError as exc:
        log.error("There is no room for the file of an import: %s", exc)
        again = settings.DATABASE_RETRY_AFTER_S
        raise Refused("unavailable", NO_ROOM, retry_after_s=again) from exc

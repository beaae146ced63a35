"""One client's socket: it takes what the client will, and keeps the rest within a budget of all."""

import errno
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings

PIECE_BYTES = 64 * 1024
PAUSE_S = 0.1


class Budget:
    """So many bytes for all connections together."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        with self._lock:
            fits = size <= self._left
            self._left -= size if fits else 0
            return fits

    def give_back(self, size: int) -> None:
        with self._lock:
            self._left += size


class Unsent:
    """Where answers wait for their clients, and how a thread waits that finds no room there."""

    def __init__(self, make_room: Callable[[], None]) -> None:
        self.budget = Budget(settings.WEB_UNSENT_MAX_BYTES)
        self.places = threading.BoundedSemaphore(settings.WEB_WAIT_PLACES)
        self.make_room = make_room


class ClientSocket(socket.socket):
    """Sends what the client takes at once, and keeps the rest in `unsent` for the main thread to
    send.
    """

    def __init__(self, accepted: socket.socket, kept: Unsent) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self.unsent = bytearray()
        self.answer_by: float | None = None
        self._kept = kept

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Return with all of it sent or kept. Raises BrokenPipeError when there is no room left."""
        self.answer_by = self.answer_by or time.monotonic() + settings.WEB_ANSWER_LIMIT_S
        left = memoryview(data)
        if not self.unsent:
            left = left[self._send(left) :]
        if left and not self._kept.budget.take(len(left)):
            left = self._send_slowly(left, until=self.answer_by)
        self.unsent += left

    def flush(self) -> bool:
        """Send what the client takes now. True when nothing is left of `unsent`."""
        sent = self._send(self.unsent)
        del self.unsent[:sent]
        self._kept.budget.give_back(sent)
        return not self.unsent

    def close(self) -> None:
        self._kept.budget.give_back(len(self.unsent))
        self.unsent = bytearray()
        super().close()

    def received(self) -> bytes | None:
        """What has come: empty when the client is gone, None when it was a false alarm."""
        try:
            return self.recv(PIECE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _send(self, data: Any) -> int:
        try:
            return self.send(data, socket.MSG_DONTWAIT) if data else 0
        except BlockingIOError:
            return 0

    def _send_slowly(self, left: memoryview, *, until: float) -> memoryview:
        """Wait for the client, or for others to make room. Few threads may, for a limited time."""
        if not self._kept.places.acquire(blocking=False):
            raise BrokenPipeError(errno.EPIPE, "too many clients do not take their answers")
        try:
            while left and not self._kept.budget.take(len(left)):
                if time.monotonic() > until:
                    raise BrokenPipeError(errno.EPIPE, "the client does not take its answer")
                self._kept.make_room()
                with selectors.DefaultSelector() as selector:
                    selector.register(self, selectors.EVENT_WRITE)
                    selector.select(PAUSE_S)
                if self.flush():
                    left = left[self._send(left) :]
            return left
        finally:
            self._kept.places.release()

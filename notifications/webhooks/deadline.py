"""A time limit for all of one call: name, connection, handshake, request and answer together.

The limit of a socket is for each read, so an answer that drips has no end by it; and a name is
looked up by the operating system, in its own time.
"""

import contextlib
import os
import queue
import socket
import threading
import time
from types import TracebackType
from typing import Self

LOOK_S = 0.05  # a connection is cut at most this much later than its time


class Deadline:
    """A time limit for all that is done within its block. When it is over, the connection that was
    made within the block is cut.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._ends_at = time.monotonic() + limit_s
        self._wire: socket.socket | None = None
        self._was_cut = False
        self._lock = threading.Lock()

    @property
    def left_s(self) -> float:
        """Seconds until it is over, never 0, which a socket takes for something else."""
        return max(self._ends_at - time.monotonic(), 0.001)

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._ends_at

    def shorten(self, to_s: float) -> None:
        """Let it be over `to_s` from now, unless it is before."""
        self._ends_at = min(self._ends_at, time.monotonic() + to_s)

    def cuts(self, wire: socket.socket) -> None:
        """Cut this connection when it is over, and none that was named before. A duplicate of its
        descriptor is kept, since TLS takes the first over.
        """
        with self._lock:
            if self._wire is not None:
                self._wire.close()
            self._wire = socket.socket(fileno=os.dup(wire.fileno()))
        if self.is_over:
            self.cut()

    def cut(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._was_cut = True
            if self._wire is not None:
                self._wire.shutdown(socket.SHUT_RDWR)

    def spares(self) -> bool:
        """Cut nothing from now on. True when nothing was cut until now."""
        with self._lock:
            if self._wire is not None:
                self._wire.close()
                self._wire = None
            return not self._was_cut

    def addresses_of(self, host: str, port: int) -> list[str]:
        """The addresses of a name. Raises OSError and UnicodeError as `getaddrinfo`, and
        TimeoutError.
        """
        found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                found.put([str(entry[4][0]) for entry in entries])
            except (OSError, UnicodeError) as exc:
                found.put(exc)

        threading.Thread(target=look_up, name="kaiten-resolver", daemon=True).start()
        try:
            answer = found.get(timeout=self.left_s)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __enter__(self) -> Self:
        _watch.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _watch.remove(self)
        self.spares()


class _Watch:
    """One thread of a process cuts what is over, of all its calls: one for each call would cost as
    much as a quick call. It ends when there are none.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin without calls, also in a process that was just forked: those are its parent's."""
        self._lock = threading.Lock()
        self._deadlines: set[Deadline] = set()
        self._is_on = False

    def add(self, deadline: Deadline) -> None:
        with self._lock:
            self._deadlines.add(deadline)
            if not self._is_on:
                self._is_on = True
                threading.Thread(target=self._look, name="kaiten-deadlines", daemon=True).start()

    def remove(self, deadline: Deadline) -> None:
        with self._lock:
            self._deadlines.discard(deadline)

    def _look(self) -> None:
        is_needed = True
        while is_needed:
            time.sleep(LOOK_S)
            with self._lock:
                over = {deadline for deadline in self._deadlines if deadline.is_over}
                self._deadlines -= over
                is_needed = self._is_on = bool(self._deadlines)
            for deadline in over:
                deadline.cut()


_watch = _Watch()
os.register_at_fork(after_in_child=_watch.forget)

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
from typing import Any, Self

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class Deadline:
    """Within the block; when its time is over, the connection that was made within it is cut."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._ends_at = time.monotonic() + limit_s
        self._wire: socket.socket | None = None
        self._lock = threading.Lock()

    @property
    def left_s(self) -> float:
        return max(self._ends_at - time.monotonic(), 0.001)

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._ends_at

    def shorten(self, to_s: float) -> None:
        """From now on there is no more time than this."""
        self._timer.cancel()
        self._ends_at = min(self._ends_at, time.monotonic() + to_s)
        self._start()

    def cuts(self, wire: socket.socket) -> None:
        """This connection is the one, and not one before it. It is known by a second name, since
        TLS takes the first.
        """
        with self._lock:
            if self._wire is not None:
                self._wire.close()
            self._wire = socket.socket(fileno=os.dup(wire.fileno()))
        if self.is_over:
            self._cut()

    def addresses_of(self, host: str, port: int) -> list[str]:
        """The addresses of a name. Raises OSError and UnicodeError as `getaddrinfo`, and
        TimeoutError.
        """
        found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                found.put(
                    [
                        str(entry[4][0])
                        for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                    ]
                )
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

    def _cut(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._wire is not None:
                self._wire.shutdown(socket.SHUT_RDWR)

    def _start(self) -> None:
        self._timer = threading.Timer(self.left_s, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            if self._wire is not None:
                self._wire.close()
                self._wire = None


class _Ending(HTTPConnection):
    def __init__(self, *args: Any, deadline: Deadline, **named: Any) -> None:
        super().__init__(*args, **named)
        self._deadline = deadline

    def _new_conn(self) -> socket.socket:
        wire = super()._new_conn()
        self._deadline.cuts(wire)
        return wire


class _EndingTls(_Ending, HTTPSConnection):
    pass


class EndingPool(urllib3.HTTPConnectionPool):
    """urllib3's, whose connections end with the `deadline` that it is given."""

    ConnectionCls = _Ending


class EndingTlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _EndingTls

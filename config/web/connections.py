"""Clients' connections, looked after by gunicorn's main thread: no thread of its pool ever waits
for a client.

As gunicorn comes, a thread reads the request and writes the answer at the client's pace, so as many
slow clients as there are threads stop the site. Here a request is gathered by the main thread's
poller, and a thread gets it when it is complete; what the client does not take of its answer at
once waits for it in memory. Each of this has a limit and an end. Where there are too many
connections, the one that is needed least goes; where too much is arriving, the largest.

::

    accept ──► gathering ──► a thread ──► flushing ──► lingering ──► closed
                   ▲                          │
                   └────── kept alive ────────┘
"""

import contextlib
import errno
import selectors
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from django.conf import settings
from gunicorn.http import get_parser
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.workers.gthread import ThreadWorker

from config.web.client_socket import Budget, ClientSocket, Unsent
from config.web.gathering import Connection

# for a client that still sends, so that it reads why it need not
LINGER_S = 2.0
LINGER_MAX_BYTES = 1024 * 1024


class TooSlow(Exception):
    """A request that has not arrived in its time."""


class BrokenOff(Exception):
    """A client that has ended its sending in the middle of a request."""


class NoRoom(Exception):
    """As much has arrived of all requests together as may be kept, or the disk is full."""


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, with all waiting for clients in its main thread."""

    def init_process(self) -> None:
        # those that are with the main thread, the longest first
        self._watched: dict[Connection, None] = {}
        self._arriving = Budget(settings.WEB_ARRIVING_MAX_BYTES)
        self._unsent = Unsent(lambda: self.method_queue.defer(self._drop_slowest_reader))
        super().init_process()

    def accept(self, listener: Any) -> None:
        try:
            accepted, address = listener.accept()
        except OSError as exc:
            if exc.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room()
            elif exc.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        client = ClientSocket(accepted, self._unsent)
        connection = Connection(self.cfg, client, address, listener.getsockname())
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        self._await_request(connection)

    def handle_request(self, req: Any, conn: Connection) -> Any:
        if conn.is_cut:
            req.force_close()
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Connection, keepalive: Any) -> bool:
        """Nothing of the body is left on the line, whoever has read it: it was gathered."""
        return bool(keepalive)

    def finish_request(self, conn: Connection, fs: "Future[Any]") -> None:
        """A thread has answered, or could not."""
        keeps = not fs.cancelled() and fs.exception() is None and bool(fs.result())
        if conn.sock.fileno() < 0:  # closed by gunicorn, in the middle of an answer that broke
            self._close(conn)
        else:
            self._see_off(conn, keep=keeps and not conn.is_cut)

    def murder_pending(self) -> None:
        """gunicorn's loop comes by once a second, and after each event."""
        now = time.monotonic()
        for connection in [one for one in self._watched if one.until < now]:
            if connection.stage == "gathering" and connection.head:
                self._refuse(connection, TooSlow())
            else:
                self._close(connection)

    def murder_keepalived(self, force: bool = False) -> None:
        if force:
            for connection in list(self._watched):
                self._close(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        """The worker stops: who has not begun a request need not begin one."""
        for connection in self._watched:
            if connection.is_idle:
                connection.until = min(connection.until, deadline)

    # --- gathering --------------------------------------------------------------------------------

    def _await_request(self, connection: Connection) -> None:
        self._watch(connection, selectors.EVENT_READ, self._receive, for_s=self.cfg.keepalive)

    def _receive(self, connection: Connection) -> None:
        data = connection.sock.received()
        if data:
            self._take_in(connection, data)
        elif data == b"" and connection.is_idle:
            self._close(connection)
        elif data == b"":
            self._refuse(connection, BrokenOff())  # it may still read

    def _take_in(self, connection: Connection, data: bytes) -> None:
        if connection.is_idle:
            connection.until = time.monotonic() + settings.WEB_READ_LIMIT_S
        try:
            self._find_room(connection, len(data))
            is_complete = connection.gather(data)
        except LimitRequestHeaders as exc:
            self._refuse(connection, exc)
        except (NoRoom, OSError):
            self._refuse(connection, NoRoom())
        else:
            if is_complete:
                self._unwatch(connection)
                connection.parser = get_parser(self.cfg, connection.request(), connection.client)
                self.enqueue_req(connection)

    def _refuse(self, connection: Connection, why: Exception) -> None:
        self.handle_error(None, connection.sock, connection.client, why)
        self._see_off(connection, keep=False)

    def _find_room(self, connection: Connection, size: int) -> None:
        """Those that keep most of the room leave it to those that need little. Raises NoRoom to the
        largest.
        """
        while not self._arriving.take(size):
            gathering = [other for other in self._watched if other.stage == "gathering"]
            largest = max(gathering, key=lambda other: other.gathered, default=connection)
            if largest.gathered <= connection.gathered + size:
                raise NoRoom
            self._refuse(largest, NoRoom())

    def _make_room(self) -> None:
        """Close the connection that is needed least, and of those the one that has been so for
        longest.
        """
        for stage in ("lingering", "idle", "flushing", "gathering"):
            for connection in self._watched:
                if stage == ("idle" if connection.is_idle else connection.stage):
                    self._close(connection)
                    return

    # --- answered ---------------------------------------------------------------------------------

    def _see_off(self, connection: Connection, *, keep: bool) -> None:
        """All of the answer is sent or kept: let the client have the rest, and be ready for its
        next request or end.
        """
        self._unwatch(connection)
        self._arriving.give_back(connection.gathered)
        connection.let_go()
        connection.begin()
        connection.stage = "flushing"
        end = self._keep if keep else self._linger
        if connection.sock.unsent:
            flush, limit_s = partial(self._flush, end=end), settings.WEB_ANSWER_LIMIT_S
            self._watch(connection, selectors.EVENT_WRITE, flush, for_s=limit_s)
        else:
            end(connection)

    def _flush(self, connection: Connection, end: Callable[[Connection], None]) -> None:
        if connection.sock.flush():
            self._unwatch(connection)
            end(connection)

    def _drop_slowest_reader(self) -> None:
        slowest = next((one for one in self._watched if one.sock.unsent), None)
        if slowest is not None:
            self._close(slowest)

    def _keep(self, connection: Connection) -> None:
        connection.stage = "gathering"
        self._await_request(connection)
        rest, connection.rest = connection.rest, b""
        if rest:
            self._take_in(connection, rest)

    def _linger(self, connection: Connection) -> None:
        """Say that no more comes, and read on for a moment: closed at once, the client might lose
        its answer.
        """
        connection.stage = "lingering"
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_WR)
        self._watch(connection, selectors.EVENT_READ, self._drop_what_comes, for_s=LINGER_S)

    def _drop_what_comes(self, connection: Connection) -> None:
        data = connection.sock.received()
        connection.gathered += len(data or b"")
        if data == b"" or connection.gathered > LINGER_MAX_BYTES:
            self._close(connection)

    # --- the poller -------------------------------------------------------------------------------

    def _watch(
        self,
        connection: Connection,
        events: int,
        act: Callable[[Connection], None],
        *,
        for_s: float,
    ) -> None:
        connection.until = time.monotonic() + for_s
        self._watched[connection] = None
        self.poller.register(connection.sock, events, lambda _: self._act(connection, act))

    def _act(self, connection: Connection, act: Callable[[Connection], None]) -> None:
        """Whatever one client brings about ends its own connection, and not the loop of all."""
        try:
            act(connection)
        except OSError:
            self._close(connection)
        except Exception:
            self.log.exception("A connection broke")
            self._close(connection)

    def _unwatch(self, connection: Connection) -> None:
        if connection in self._watched:
            del self._watched[connection]
            self.poller.unregister(connection.sock)

    def _close(self, connection: Connection) -> None:
        self._unwatch(connection)
        if connection.stage == "gathering":
            self._arriving.give_back(connection.gathered)
        self.nr_conns -= 1
        connection.close()

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
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Any

from django.conf import settings
from gunicorn.http import get_parser
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.workers.gthread import TConn, ThreadWorker

HEAD_END = b"\r\n\r\n"
PATH = re.compile(rb"[A-Z]+ ([^ ?]*)")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n", re.IGNORECASE)
FRAMED = re.compile(rb"\r\n(?:content-length|transfer-encoding)", re.IGNORECASE)
CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
PIECE_BYTES = 64 * 1024
HEAD_MAX_BYTES = 64 * 1024
PAUSE_S = 0.1
# for a client that still sends, so that it reads why it need not
LINGER_S, LINGER_MAX_BYTES = (2.0, 1024 * 1024)


class TooSlow(Exception):
    """A request that has not arrived in its time."""


class BrokenOff(Exception):
    """A client that has ended its sending in the middle of a request."""


class NoRoom(Exception):
    """As much has arrived of all requests together as may be kept, or the disk is full."""


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


class Connection(TConn):  # type: ignore[misc]
    """One client's connection, and the request that is arriving on it."""

    sock: ClientSocket

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # of gunicorn: nothing is left for a thread to wait for
        self.initialized = self.data_ready = True
        self.until = 0.0  # when the main thread's patience ends
        self.stage = "gathering"
        self.rest = b""  # what came after the request
        self.begin()

    def begin(self) -> None:
        """Be ready for the next request."""
        self.head = bytearray()
        self.body: Any = None
        self.missing: int | None = None  # bytes of the body; None in the head
        # the rest of its body is nobody's to read: the connection ends with the answer
        self.is_cut = False
        self.gathered = 0
        self.began = 0.0  # to send its body
        self.sock.answer_by = None

    @property
    def is_idle(self) -> bool:
        return self.stage == "gathering" and not self.head

    def gather(self, data: bytes) -> bool:
        """Take in what has come. True when the request is complete. Raises LimitRequestHeaders and
        OSError.
        """
        self.gathered += len(data)
        if self.missing is None:
            seen = max(0, len(self.head) - len(HEAD_END) + 1)
            self.head += data
            end = self.head.find(HEAD_END, seen)
            if end < 0:
                if len(self.head) > HEAD_MAX_BYTES:
                    raise LimitRequestHeaders("limit request headers fields size")
                return False
            data = bytes(self.head[end + len(HEAD_END) :])
            del self.head[end + len(HEAD_END) :]
            self.missing = self._length_of_body()
            self._expect_body(self.missing - len(data))
        own, self.rest = data[: self.missing], data[self.missing :]
        if own:
            self.body = self.body or SpooledTemporaryFile(max_size=PIECE_BYTES)  # noqa: SIM115 - `let_go` closes it
            self.body.write(own)
        self.missing -= len(own)
        self._wait_on()
        return self.missing == 0

    def request(self) -> Iterator[bytes]:
        """The complete request, for gunicorn's parser."""
        yield bytes(self.head)
        if self.body:
            self.body.seek(0)
            while piece := self.body.read(PIECE_BYTES):
                yield piece

    def let_go(self) -> None:
        """The request has been answered, or will not be."""
        if self.body:
            with contextlib.suppress(OSError):
                self.body.close()
        self.body = None

    def close(self, graceful: bool = False) -> None:
        self.let_go()
        super().close()

    def _length_of_body(self) -> int:
        """0 also for a body that will be refused by what the head says of it."""
        length, path = LENGTH.search(self.head), PATH.match(self.head)
        if length is None:
            self.is_cut = FRAMED.search(self.head) is not None
            return 0
        name = path[1].decode("latin-1") if path else ""
        size = int(length[1])
        self.is_cut = size > settings.BODY_MAX_BYTES_OF.get(name, settings.BODY_MAX_BYTES)
        return 0 if self.is_cut else size

    def _wait_on(self) -> None:
        """A body has WEB_READ_LIMIT_S, and what its bytes need at WEB_READ_MIN_BYTES_S; it may
        never pause so long.
        """
        due = self.began + self.gathered / settings.WEB_READ_MIN_BYTES_S
        self.until = min(due, time.monotonic()) + settings.WEB_READ_LIMIT_S

    def _expect_body(self, missing: int) -> None:
        self.began = time.monotonic()
        if missing <= 0:
            return
        if CONTINUE.search(self.head):
            self.head = bytearray(CONTINUE.sub(b"", self.head))
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.sock.answer_by = None


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, with all waiting for clients in its main thread."""

    def init_process(self) -> None:
        self._watched: dict[
            Connection, None
        ] = {}  # those that are with the main thread, the longest first
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
        for connection in list(self._watched) if force else ():
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
        for connection in [one for one in self._watched if one.sock.unsent][:1]:
            self._close(connection)

    def _keep(self, connection: Connection) -> None:
        connection.stage, rest = "gathering", connection.rest
        self._await_request(connection)
        connection.rest = b""
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

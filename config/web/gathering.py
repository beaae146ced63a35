"""One client's connection, and the request that is arriving on it, until it is complete."""

import contextlib
import re
import time
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Any

from django.conf import settings
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.workers.gthread import TConn

from config.web.client_socket import PIECE_BYTES, ClientSocket

HEAD_END = b"\r\n\r\n"
PATH = re.compile(rb"[A-Z]+ ([^ ?]*)")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n", re.IGNORECASE)
FRAMED = re.compile(rb"\r\n(?:content-length|transfer-encoding)", re.IGNORECASE)
CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
HEAD_MAX_BYTES = 64 * 1024


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
            after_head = self._complete_head(data)
            if after_head is None:
                return False
            data = after_head
            self.missing = self._length_of_body()
            self._expect_body(self.missing - len(data))
        own, self.rest = data[: self.missing], data[self.missing :]
        if own:
            # `let_go` closes it
            self.body = self.body or SpooledTemporaryFile(max_size=PIECE_BYTES)  # noqa: SIM115
            self.body.write(own)
        self.missing -= len(own)
        self._wait_on()
        return self.missing == 0

    def _complete_head(self, data: bytes) -> bytes | None:
        """What has come beyond the head; None while the head has not come to its end."""
        looked_through = max(0, len(self.head) - len(HEAD_END) + 1)
        self.head += data
        found_at = self.head.find(HEAD_END, looked_through)
        if found_at < 0:
            if len(self.head) > HEAD_MAX_BYTES:
                raise LimitRequestHeaders("limit request headers fields size")
            return None
        end = found_at + len(HEAD_END)
        after_head = bytes(self.head[end:])
        del self.head[end:]
        return after_head

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

"""A receiver on this machine, for development: it verifies webhooks, prints them, and misbehaves as
it is asked to.
"""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.conf import settings

from notifications.webhooks.verdict import WHOLE_NUMBER, Verdict

Judge = Callable[[dict[str, str], bytes], Verdict]


@dataclass(frozen=True)
class Manners:
    """How each `every`-th webhook is answered; the others as their verdict is."""

    status: int | None = None  # None: as the verdict is, 200 or 401
    delay_s: float = 0.0
    hangs: bool = False
    every: int = 1


class Listener(ThreadingHTTPServer):
    """The server, on loopback alone. `tell` is called with each line of text that people read, of
    one webhook after another.
    """

    daemon_threads = True

    def __init__(
        self, port: int, judge: Judge, manners: Manners, tell: Callable[[str], None]
    ) -> None:
        self.judge, self.manners = judge, manners
        self._tell = tell
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._times: dict[str, int] = {}  # how often each id was heard, of the last ones
        self._places = threading.BoundedSemaphore(settings.LISTENER_PLACES)
        self.over = threading.Event()
        super().__init__(("127.0.0.1", port), Call)

    def heard(self, headers: dict[str, str], body: bytes) -> tuple[int, float | None]:
        """Verify a webhook and print it: the status to answer it with, and after how many seconds;
        None: never.
        """
        verdict = self.judge(headers, body)
        with self._lock:
            number = next(self._numbers)
            times = self._count(headers.get("webhook-id", ""))
            is_bad = number % self.manners.every == 0
            status: int = HTTPStatus.UNAUTHORIZED if verdict.faults else HTTPStatus.OK
            after_s: float | None = 0.0
            if is_bad:
                status = self.manners.status or status
                after_s = None if self.manners.hangs else self.manners.delay_s
            self._tell(_line(number, headers, times, verdict, _answer(status, after_s)))
            for fault in verdict.faults:
                self._tell(f"    {_printable(fault)}")
            self._tell(f"    {_beginning(body)}")
        return status, after_s

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer it in a thread, if one of the LISTENER_PLACES is free, or else hang up."""
        if not self._places.acquire(blocking=False):
            with self._lock:
                self._tell(f"{settings.LISTENER_PLACES} calls at a time; one more is hung up on.")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a caller that went away."""

    def server_close(self) -> None:
        self.over.set()
        super().server_close()

    def _count(self, id_: str) -> int:
        """How often this id was heard, this time included; of the last LISTENER_REMEMBERS."""
        times = self._times.pop(id_, 0) + 1
        self._times[id_] = times
        if len(self._times) > settings.LISTENER_REMEMBERS:
            self._times.pop(next(iter(self._times)))
        return times


class Call(BaseHTTPRequestHandler):
    server: Listener
    timeout = settings.LISTENER_READ_LIMIT_S

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not WHOLE_NUMBER.fullmatch(length):
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > settings.BODY_MAX_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._answer(self.rfile.read(int(length)))

    def _answer(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, after_s = self.server.heard(headers, body)
        self.server.over.wait(settings.LISTENER_HANG_MAX_S if after_s is None else after_s)
        self.close_connection = True
        if after_s is not None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Print nothing: the listener does."""


def _line(number: int, headers: dict[str, str], times: int, verdict: Verdict, answer: str) -> str:
    again = f" (heard {times} times)" if times > 1 else ""
    how = "NOT good" if verdict.faults else f"good by {' and '.join(verdict.good_by)}"
    id_ = _printable(headers.get("webhook-id", "without an id")[:100])
    return f"{number}  {id_}{again}: {how} → {answer}"


def _answer(status: int, after_s: float | None) -> str:
    if after_s is None:
        return "no answer"
    return f"{int(status)}" + (f" after {after_s:g} s" if after_s else "")


def _beginning(body: bytes) -> str:
    """The first LISTENER_SHOWN_CHARS of it, and how many bytes follow."""
    text = body[: 4 * settings.LISTENER_SHOWN_CHARS].decode(errors="replace")
    beginning = text[: settings.LISTENER_SHOWN_CHARS]
    more = len(body) - len(beginning.encode())
    return _printable(beginning) + (f" … {more} bytes more" if more > 0 else "")


def _printable(text: str) -> str:
    """The text with escapes in place of what a terminal would obey."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)

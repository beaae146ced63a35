"""The double's wire: HTTP/1.1, form-encoded bodies, Bearer keys, and answers that never arrive."""

import json
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from tests.doubles.stripe import StripeDouble

SECRET_KEY = "sk_test_double"
WORDS = ("flaw", "decide", "dispute", "resend", "forget_keys")  # what may be told over HTTP
HANG_S = 20.0


@dataclass
class Request:
    method: str
    path: str
    params: dict[str, str]
    key: str  # "" without an Idempotency-Key

    @property
    def fingerprint(self) -> str:
        return json.dumps([self.method, self.path, self.params], sort_keys=True)


@dataclass
class Answer:
    status: int
    body: dict[str, Any]
    flaw: str = ""
    replayed: bool = False


def error(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, **more}}


class Handler(BaseHTTPRequestHandler):
    double: ClassVar["StripeDouble"]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        self._serve(Request("GET", where.path, dict(parse_qsl(where.query)), ""))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        if (word := self.path.removeprefix("/_double/")) in WORDS:
            self._say(200, json.dumps(getattr(self.double, word)(**json.loads(body))))
            return
        params = dict(parse_qsl(body, keep_blank_values=True))
        self._serve(Request("POST", self.path, params, self.headers.get("Idempotency-Key", "")))

    def _serve(self, request: Request) -> None:
        if self.headers.get("Authorization") != f"Bearer {SECRET_KEY}":
            self._say(
                401, json.dumps(error("invalid_request_error", "Invalid API Key provided: sk_***"))
            )
            return
        answer = self.double.answer(request)
        if answer.flaw == "hang":
            self._wait_for_the_other_side()
        if answer.flaw in ("hang", "lose_answer", "lose_all"):
            self.close_connection = True
            return
        text = "<html>" if answer.flaw == "garbage" else json.dumps(answer.body)
        self._say(answer.status, text, {"Idempotent-Replayed": "true"} if answer.replayed else {})

    def _wait_for_the_other_side(self) -> None:
        self.connection.settimeout(HANG_S)
        try:
            self.connection.recv(1)
        except TimeoutError:
            self.double.outlasted += 1

    def _say(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        payload = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Request-Id", f"req_{len(self.double.requests)}")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args: Any) -> None:
        pass

"""A client's server that hears webhooks: `python -m … PORT JOURNAL SEED SECRET`. It runs until it
is killed.

Each POST is noted before it is answered: whose delivery, what it tells, a digest of its bytes,
whether the signature holds, and the status of the answer.
"""

import hashlib
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.promises.chaos.outside.journal import Journal
from tests.promises.chaos.outside.moods import HANG_S, Mood, mood


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, journal: Journal, dice: Random, secret: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.journal, self.dice, self.webhook = journal, dice, Webhook(secret)
        self.lock = threading.Lock()

    def next_mood(self) -> Mood:
        with self.lock:
            return mood(self.dice)


class Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 10

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        mood = self.server.next_mood()
        status = 500 if mood == Mood.REFUSE else 200
        self.server.journal.note(**self._heard(body), status=status)
        if mood == Mood.HANG:
            time.sleep(HANG_S)
        if mood != Mood.FORGET:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _heard(self, body: bytes) -> dict[str, Any]:
        event = json.loads(body)
        return {
            "delivery": self.headers["webhook-id"],
            "digest": hashlib.sha256(body).hexdigest(),
            "kind": event["type"],
            "seq": event["data"]["order"]["version"],
            "signed": self._is_signed(body),
        }

    def _is_signed(self, body: bytes) -> bool:
        try:
            self.server.webhook.verify(
                body, {name.lower(): value for name, value in self.headers.items()}
            )
        except WebhookVerificationError:
            return False
        return True

    def log_message(self, *args: Any) -> None:
        pass


if __name__ == "__main__":
    port, path, seed, secret = sys.argv[1:]
    Server(int(port), Journal(Path(path)), Random(int(seed)), secret).serve_forever()

"""How the double rings: signed POSTs, tried again a few times, and after a restart what was not
heard yet.
"""

import hashlib
import hmac
import json
import queue
import threading
import time
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from tests.doubles.stripe_book import Book, Object

TRIES, PAUSE_S, TIMEOUT_S = 6, 0.3, 5.0


def signature(payload: bytes, secret: str, moment: float | None = None) -> str:
    stamp = str(int(time.time() if moment is None else moment))
    mac = hmac.new(secret.encode(), stamp.encode() + b"." + payload, hashlib.sha256)
    return f"t={stamp},v1={mac.hexdigest()}"


def thinned(event: Object) -> Object:
    """As an event destination of v2 sends it: what it is about is named, and not shown."""
    about = event["data"]["object"]
    return {
        "id": event["id"],
        "object": "v2.core.event",
        "type": f"v1.{event['type']}",
        "created": datetime.fromtimestamp(event["created"], UTC).isoformat(),
        "livemode": False,
        "related_object": {
            "id": about["id"],
            "type": about["object"],
            "url": f"/v1/{about['object']}s/{about['id']}",
        },
    }


class Ringer:
    def __init__(self, book: Book, url: str, secret: str) -> None:
        if url and urlsplit(url).hostname not in ("127.0.0.1", "localhost"):
            raise ValueError(f"the double rings on loopback only, not at {url}")
        self.book, self.url, self.secret = book, url, secret
        self.is_thin = False  # whether it rings with events of v2
        self.stopping = threading.Event()
        self.waiting: queue.SimpleQueue[Object | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work)

    def start(self) -> None:
        for event in list(self.book.undelivered.values()):
            self.waiting.put(event)
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.waiting.put(None)
        self.thread.join(timeout=2 * TIMEOUT_S)

    def later(self, event: Object) -> None:
        self.waiting.put(event)

    def now(self, event: Object) -> int:
        """Ring once and return what was answered; 0 for nothing."""
        if not self.url:
            return 0
        sent = thinned(event) if self.is_thin else event
        where, payload = urlsplit(self.url), json.dumps(sent).encode()
        connection = HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT_S)
        headers = {
            "Content-Type": "application/json",
            "Stripe-Signature": signature(payload, self.secret),
        }
        try:
            connection.request("POST", where.path, payload, headers)
            status = connection.getresponse().status
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()
        if 200 <= status < 300 and not self.stopping.is_set():
            self.book.write(delivered=event["id"])
        return status

    def _work(self) -> None:
        while (event := self.waiting.get()) is not None:
            for nth in range(TRIES if self.url else 0):
                if self.stopping.is_set() or 200 <= self.now(event) < 300:
                    break
                self.stopping.wait(PAUSE_S * 2**nth)

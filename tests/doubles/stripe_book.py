"""The double's book: what Stripe would still know after a power cut.

An append-only file of JSON lines, each fsynced before anybody hears of what it says. One line is
one act: the objects it made or changed, the answer stored under the idempotency key, and the
events, so that no kill can part them. A last line that a kill has torn was never answered for, and
is skipped. Auditors read it with `objects_in(path)`.
"""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Object = dict[str, Any]


class Book:
    def __init__(self, path: Path) -> None:
        self.objects: dict[str, Object] = {}  # by id, in the order in which they were made
        self.answers: dict[str, Object] = {}  # by idempotency key: fingerprint, status, body
        self.events: dict[str, Object] = {}
        self.undelivered: dict[str, Object] = {}
        self.lock = threading.RLock()
        for act in acts_in(path):
            self._take(act)
        torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
        self.file = path.open("ab")
        if torn:
            self.file.write(b"\n")

    def write(self, **act: Any) -> None:
        """Durable at its return. Keys: objects, answer, events, silent, delivered, forget_keys."""
        with self.lock:
            if self.file.closed:
                raise OSError("the book is closed")
            self.file.write(json.dumps(act, separators=(",", ":")).encode() + b"\n")
            self.file.flush()
            os.fsync(self.file.fileno())
            self._take(act)

    def of_kind(self, kind: str) -> list[Object]:
        """The newest first, as Stripe lists them."""
        with self.lock:
            return [made for made in reversed(self.objects.values()) if made["object"] == kind]

    def close(self) -> None:
        with self.lock:
            self.file.close()

    def _take(self, act: Object) -> None:
        for made in act.get("objects", ()):
            self.objects[made["id"]] = made
        if answer := act.get("answer"):
            self.answers[answer["key"]] = answer
        for event in act.get("events", ()):
            self.events[event["id"]] = event
            if not act.get("silent"):
                self.undelivered[event["id"]] = event
        self.undelivered.pop(act.get("delivered", ""), None)
        if act.get("forget_keys"):
            self.answers.clear()


def acts_in(path: Path) -> Iterator[Object]:
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            continue  # torn by a kill


def objects_in(path: Path, kind: str = "payment_intent") -> list[Object]:
    """What the book on disk has of a kind, each as it stands now, the oldest first."""
    latest: dict[str, Object] = {}
    for act in acts_in(path):
        latest |= {made["id"]: made for made in act.get("objects", ()) if made["object"] == kind}
    return list(latest.values())

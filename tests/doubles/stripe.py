"""A double of Stripe's HTTP API, as much of it as Kaiten uses, with Stripe's own idempotency and a
durable book.

In a test: `with StripeDouble(path) as stripe: …`. As a process, to be killed and restarted on its
book:

    python -m tests.doubles.stripe --port P --book FILE [--webhook-url URL] [--process-s S]
                                   [--lose-share X --seed N]

`POST /_double/<word>` with a JSON body is the same as the method of that name here (`tell` does it
over HTTP).
"""

import argparse
import json
import random
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from tests.doubles import stripe_rules as rules
from tests.doubles.stripe_book import Book, Object
from tests.doubles.stripe_rules import Outcome, Refusal
from tests.doubles.stripe_webhooks import Ringer
from tests.doubles.stripe_wire import Answer, Handler, Request, error

WEBHOOK_SECRET = "whsec_double"
FLAWS = {
    "lose_answer": "books it, then hangs up without an answer",
    "lose_all": "books it, hangs up without an answer, and does not ring either",
    "hang": "books it, then says nothing until whoever asked has hung up",
    "500_before": "answers 500 and has booked nothing; stored under the key, as Stripe does it",
    "500_after": "books it and answers 500; stored under the key",
    "503": "answers 503 before it begins; nothing is stored",
    "429": "answers 429 before it begins; nothing is stored",
    "garbage": "answers 200 with something that is not JSON",
    "slow": "takes SLOW_S, and the key is in use meanwhile",
    "slow_till_repeated": "takes until the same key comes again, which is in use meanwhile",
    "list_lags": "lists without the newest one",
    "webhook_first": "rings before it answers",
    "webhook_twice": "rings twice with the same event",
    "webhook_never": "does not ring",
}
SLOW_S = 0.5
REPEATED_WITHIN_S = 20
UNFIT = {"503": (503, "api_error"), "429": (429, "invalid_request_error")}
ROUTES: list[tuple[str, str, Callable[..., Outcome]]] = [
    ("POST", r"/v1/payment_intents", rules.create_intent),
    ("GET", r"/v1/payment_intents", rules.listed("payment_intent", "/v1/payment_intents")),
    ("GET", r"/v1/payment_intents/(\w+)", rules.retrieve("payment_intent")),
    ("POST", r"/v1/payment_intents/(\w+)/cancel", rules.cancel_intent),
    ("POST", r"/v1/refunds", rules.create_refund),
    ("GET", r"/v1/refunds", rules.listed("refund", "/v1/refunds")),
    ("GET", r"/v1/refunds/(\w+)", rules.retrieve("refund")),
    ("GET", r"/v1/disputes", rules.listed("dispute", "/v1/disputes")),
]


class StripeDouble:
    def __init__(
        self,
        book: Path,
        *,
        port: int = 0,
        webhook_url: str = "",
        process_s: float | None = None,
        lose_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.path, self.book = book, Book(book)
        self.ringer = Ringer(self.book, webhook_url, WEBHOOK_SECRET)
        self.process_s, self.lose_share, self.dice = process_s, lose_share, random.Random(seed)
        self.flaws: list[Object] = []
        self.running: set[str] = set()
        self.repeated = threading.Event()
        self.requests: list[Request] = []
        self.outlasted = 0  # requests whose sender would have waited for longer than we hung
        self.stopping = threading.Event()
        self.server = ThreadingHTTPServer(
            ("127.0.0.1", port), type("Handler", (Handler,), {"double": self})
        )
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.threads = [
            threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}),
            threading.Thread(target=self._let_time_pass),
        ]

    def __enter__(self) -> "StripeDouble":
        self.ringer.start()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        for thread in self.threads:
            thread.join(timeout=5)
        self.ringer.stop()
        self.book.close()

    # --- what a test may tell it ------------------------------------------------------------------

    def flaw(self, flaw: str, *, times: int = 1, method: str = "", path: str = "") -> None:
        """The next so many requests that fit have this flaw."""
        assert flaw in FLAWS, flaw
        self.flaws.append({"flaw": flaw, "times": times, "method": method, "path": path})

    def decide(self, intent: str, status: str) -> None:
        """What the bank or the customer has done about a payment that was open."""
        with self.book.lock:
            decided = rules.decide(self.book.objects[intent], status)
            self.book.write(objects=decided.objects, events=decided.events)
        for event in decided.events:
            self.ringer.later(event)

    def decide_refund(self, refund: str, status: str) -> None:
        """What the bank has done about a refund: Stripe's word on it may change, even after
        "succeeded".
        """
        with self.book.lock:
            decided = rules.decide_refund(self.book, refund, status)
            self.book.write(objects=decided.objects, events=decided.events)
        for event in decided.events:
            self.ringer.later(event)

    def refund_by_hand(self, intent: str, amount: int) -> str:
        """Somebody gives money back on Stripe's own pages. Returns the refund's id."""
        with self.book.lock:
            params = {"payment_intent": intent, "amount": str(amount)}
            made = rules.create_refund(self.book, params)
            self.book.write(objects=made.objects, events=made.events)
        for event in made.events:
            self.ringer.later(event)
        return str(made.body["id"])

    def charge_by_hand(self, **params: str) -> str:
        """Somebody types a card into Stripe's own pages. Returns the payment's id."""
        typed = {
            "amount": "500",
            "currency": "jpy",
            "payment_method": "pm_card_visa",
            "confirm": "true",
            "automatic_payment_methods[allow_redirects]": "never",
        }
        with self.book.lock:
            made = rules.create_intent(self.book, typed | params)
            self.book.write(objects=made.objects, events=made.events)
        for event in made.events:
            self.ringer.later(event)
        return str(made.body["id"])

    def dispute(self, intent: str) -> None:
        with self.book.lock:
            opened = rules.open_dispute(self.book, intent)
            self.book.write(objects=opened.objects, events=opened.events)
        for event in opened.events:
            self.ringer.later(event)

    def move_dispute(self, intent: str, word: str, status: str) -> None:
        """The bank's next word on it: `updated`, or `closed` as won or lost."""
        with self.book.lock:
            moved = rules.move_dispute(self.book, intent, word, status)
            self.book.write(objects=moved.objects, events=moved.events)
        for event in moved.events:
            self.ringer.later(event)

    def resend(self, kind: str = "") -> list[int]:
        """Ring again with every event of a kind (of all, without one), now; what was answered."""
        return [
            self.ringer.now(event)
            for event in list(self.book.events.values())
            if kind in ("", event["type"])
        ]

    def forget_keys(self) -> None:
        """A day has passed: idempotency keys are pruned."""
        self.book.write(forget_keys=True)

    # --- requests ---------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        """Decide, write into the book, and only then say how to answer."""
        self.requests.append(request)
        act = self._route(request)
        if act is None:
            return Answer(
                404, error("invalid_request_error", f"Unrecognized request URL ({request.path}).")
            )
        flaw = self._flaw_of(request)
        if flaw in UNFIT:
            status, kind = UNFIT[flaw]
            return Answer(status, error(kind, "not now"))
        return self._look(act, flaw) if request.method == "GET" else self._once(request, act, flaw)

    def _route(self, request: Request) -> Callable[[], Outcome] | None:
        for method, pattern, act in ROUTES:
            match = re.fullmatch(pattern, request.path)
            if match and method == request.method:
                return partial(act, self.book, request.params, *match.groups())
        return None

    def _look(self, act: Callable[[], Outcome], flaw: str) -> Answer:
        try:
            seen = act()
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body)
        if flaw.startswith("500"):
            return Answer(500, error("api_error", "something went wrong"))
        if flaw == "list_lags":
            seen.body["data"] = seen.body["data"][1:]
        return Answer(seen.status, seen.body, flaw)

    def _once(self, request: Request, act: Callable[[], Outcome], flaw: str) -> Answer:
        """Once per idempotency key: execute and store, or say what was said before."""
        if not request.key:
            # Stripe asks for none; then each request is another one
            request.key = f"none-{uuid4()}"
        with self.book.lock:
            if kept := self.book.answers.get(request.key):
                if kept["fingerprint"] != request.fingerprint:
                    return Answer(
                        400, error("idempotency_error", "This key was used with other parameters.")
                    )
                return Answer(kept["status"], kept["body"], flaw, replayed=True)
            if request.key in self.running:
                self.repeated.set()
                return Answer(
                    409,
                    error(
                        "idempotency_error", "This key is in use.", code="idempotency_key_in_use"
                    ),
                )
            self.running.add(request.key)
        try:
            if flaw == "slow":
                self.stopping.wait(SLOW_S)
            if flaw == "slow_till_repeated":
                self.repeated.wait(REPEATED_WITHIN_S)
            return self._execute(request, act, flaw)
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body)
        finally:
            self.running.discard(request.key)

    def _execute(self, request: Request, act: Callable[[], Outcome], flaw: str) -> Answer:
        """The book first, in one line; then the bells; then the answer."""
        with self.book.lock:
            outcome = Outcome(500, {}) if flaw == "500_before" else act()
            if flaw.startswith("500"):
                outcome.status, outcome.body = 500, error("api_error", "something went wrong")
            stored = {
                "fingerprint": request.fingerprint,
                "status": outcome.status,
                "body": outcome.body,
            }
            silent = flaw in ("webhook_never", "lose_all")
            self.book.write(
                answer={"key": request.key, **stored},
                objects=outcome.objects,
                events=outcome.events,
                silent=silent,
            )
        for event in () if silent else outcome.events:
            if flaw in ("webhook_first", "webhook_twice"):
                self.ringer.now(event)
            if flaw != "webhook_first":
                self.ringer.later(event)
        return Answer(outcome.status, outcome.body, flaw)

    def _flaw_of(self, request: Request) -> str:
        for planned in self.flaws:
            if request.method.startswith(planned["method"]) and request.path.startswith(
                planned["path"]
            ):
                planned["times"] -= 1
                if not planned["times"]:
                    self.flaws.remove(planned)
                return str(planned["flaw"])
        named = request.params.get("payment_method", "").removeprefix("pm_double_")
        if named in FLAWS and request.key not in self.book.answers:
            return named
        return "lose_answer" if self.dice.random() < self.lose_share else ""

    def _let_time_pass(self) -> None:
        """What is processing is decided in the end."""
        while self.process_s is not None and not self.stopping.wait(0.05):
            for made in self.book.of_kind("payment_intent"):
                if (
                    made["status"] == "processing"
                    and made["created_exactly"] < time.time() - self.process_s
                ):
                    self.decide(made["id"], "succeeded")


def tell(url: str, word: str, **body: Any) -> Any:
    """What a test has to say to a double that is a process."""
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=10)
    try:
        connection.request("POST", f"/_double/{word}", json.dumps(body))
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--book", type=Path, required=True)
    parser.add_argument("--webhook-url", default="")
    parser.add_argument("--process-s", type=float)
    parser.add_argument("--lose-share", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args())
    with StripeDouble(options.pop("book"), **options) as double:
        print(f"Stripe's double: {double.url}", flush=True)
        double.threads[0].join()


if __name__ == "__main__":
    main()

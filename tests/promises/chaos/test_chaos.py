"""Real web, real workers, real load, real faults; then the books are compared. `bin/chaos` runs it for longer."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from random import Random
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.db.utils import InterfaceError, OperationalError
from redis import Redis

from jobs.models import Job
from notifications.models import Endpoint
from orders.clients import ApiKey, Client
from orders.models import Order
from tests.edges import Postbox, WebhookSink
from tests.promises import tasks
from tests.promises.chaos.auditor import answer_violations, violations, webhook_violations
from tests.promises.chaos.faults import Faults
from tests.promises.processes import Stack, Web, until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "45"))
SEED = int(os.environ.get("CHAOS_SEED", "20261122"))
PAUSE_S = 0.3  # between faults
REST_LIMIT_S = 180
TOKENS = ["tok_ok"] * 5 + ["tok_declined", "tok_flaky", "tok_webhook_first", "tok_webhook_twice", "tok_webhook_never"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(SECONDS + REST_LIMIT_S + 120)]


@pytest.fixture
def tally() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE tally (number int)")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE tally")


class Customer(threading.Thread):
    """Orders as long as it may. What fails it sends again under its key, as a good client does."""

    def __init__(self, web: Web, key: str, body: Callable[..., Any], dice: Random, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.web, self.key, self.body, self.dice = web, key, body, dice
        self.answers: list[tuple[str, int, str]] = []
        self.may_order = True

    def run(self) -> None:
        number = 0
        while self.may_order:
            number += 1
            said = self.body(external_id=f"{self.name}-{number}", payment={"token": self.dice.choice(TOKENS)})
            while not self._order(f"{self.name}-{number}", said) and self.may_order:
                time.sleep(0.2)
            if self.dice.random() < 0.2:
                self._order(f"{self.name}-{number}", said)  # clicks twice
            time.sleep(self.dice.uniform(0.05, 0.2))

    def _order(self, key: str, said: Any) -> bool:
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency_Key": key}
        try:
            status, _, answer = self.web.ask("POST", "/v1/orders", said, **headers)
        except (OSError, HTTPException, ValueError):
            return False
        self.answers.append((key, status, answer.get("id", "")))
        return status == 202


def test_after_chaos_the_books_balance(
    stack: Stack,
    broker: Redis,
    shop: Client,
    stock: Any,
    order_body: Callable[..., Any],
    sink: WebhookSink,
    postbox: Postbox,
    tally: None,
) -> None:
    dice = Random(SEED)
    stock(on_hand=10**6)
    key = ApiKey.objects.issue(shop, [])
    Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"])
    stack.environment["EMAIL_URL"] = f"smtp://127.0.0.1:{postbox.port}"
    web = stack.start_web()
    faults = Faults(stack, web, broker, dice, ("--include", "tests.promises.tasks", "--concurrency", "3"))
    faults.start_workers(2)
    customers = [Customer(web, key, order_body, Random(SEED + at), f"c{at}") for at in range(3)]
    for customer in customers:
        customer.start()

    numbers = iter(range(10**9))
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        despite_trouble(lambda: tasks.tally.delay(next(numbers)))
        despite_trouble(faults.inject)
        sink.answers += [500] * (dice.random() < 0.1)
        postbox.refusals += dice.random() < 0.1
        time.sleep(PAUSE_S)

    for customer in customers:
        customer.may_order = False
    for customer in customers:
        customer.join(timeout=60)
    faults.end()
    until(everything_rests, "every job has come to rest", within_s=REST_LIMIT_S)
    answers = [answer for customer in customers for answer in customer.answers]
    found = violations()
    orders = {str(pk) for pk in Order.objects.values_list("pk", flat=True)}
    print(f"seed {SEED}: {sum(faults.injected.values())} faults {dict(faults.injected)}")
    lost = Job.objects.filter(losses__gt=0).count()
    print(f"{len(orders)} orders, {Job.objects.count()} jobs, {lost} of them lost once or more")
    print(f"violations: {found or 'none'}")
    assert (found, webhook_violations(sink), answer_violations(answers, orders)) == ({}, [], [])
    assert len(orders) > SECONDS / 2, "too little was ordered to say anything"


def despite_trouble(act: Callable[[], object]) -> None:
    """Our own session is not spared either."""
    try:
        act()
    except (OperationalError, InterfaceError):
        connection.close()


def everything_rests() -> bool:
    """Nobody sleeps through a back-off: what waits is due now, and endpoints are awake."""
    waiting = Job.objects.filter(state="waiting")
    Endpoint.objects.update(resting_until=Now())
    waiting.filter(due_at__gt=Now()).update(due_at=Now(), ring_at=Now())
    return not Job.objects.filter(state__in=("waiting", "running")).exists()

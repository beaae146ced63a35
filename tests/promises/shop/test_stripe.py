"""Charged once at Stripe, whose double loses answers and is killed, as is the worker that asks."""

import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F, Sum

from celery_ledger.models import Job
from orders.models import ApiKey, Client, Order, Stock
from orders.payments.models import PaymentOperation
from orders.payments.provider_event import ProviderEvent
from tests.doubles.stripe import WEBHOOK_SECRET, tell
from tests.doubles.stripe_book import Object, objects_in
from tests.doubles.stripe_wire import SECRET_KEY
from tests.machine.ports import free_port
from tests.promises.processes import Stack, Tree, Web
from tests.rooms import CHECKOUT
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
ORDERS, SEED, LOSE_SHARE = 30, 20261125, 0.2
DECLINED = "pm_card_chargeDeclined"
TOKENS = [
    *["pm_card_visa"] * 4,
    DECLINED,
    "pm_double_processing",
    "pm_double_lose_all",
    "pm_double_lose_answer",
    "pm_double_500_after",
    "pm_double_webhook_first",
    "pm_double_webhook_twice",
    "pm_double_webhook_never",
]


class Stripe:
    """The double as a process on one port and one book, however often it is started."""

    def __init__(self, stack: Stack, book: Path) -> None:
        self.stack, self.book, self.port, self.starts = stack, book, free_port(), 0
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, *, rings: Web) -> Tree:
        self.starts += 1
        command = [
            sys.executable,
            "-m",
            "tests.doubles.stripe",
            "--port",
            str(self.port),
            "--book",
            str(self.book),
            "--process-s",
            "1",
            "--lose-share",
            str(LOSE_SHARE),
            "--seed",
            str(SEED + self.starts),
            "--webhook-url",
            f"http://127.0.0.1:{rings.port}/v1/payments/stripe/events",
        ]
        tree = Tree(
            command,
            {**self.stack.environment, "PYTHONPATH": str(CHECKOUT)},
            self.stack.folder / f"stripe-{self.starts}.log",
        )
        self.stack.trees.append(tree)
        until(lambda: self.url in tree.output(), "Stripe's double answers", within_s=30)
        return tree

    def intents(self) -> list[Object]:
        return objects_in(self.book)


@pytest.fixture
def stripe(stack: Stack, tmp_path: Path) -> Stripe:
    stripe = Stripe(stack, tmp_path / "book.jsonl")
    stack.environment |= {
        "PAYMENT_PROVIDER": "stripe",
        "STRIPE_SECRET_KEY": SECRET_KEY,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "STRIPE_API_BASE": stripe.url,
    }
    return stripe


def catch_charging(worker: Tree) -> None:
    """Kill the worker's tree while it waits for Stripe's answer to a charge."""
    charging = Job.objects.filter(task="orders.tasks.charge", state="running")
    for _ in range(100):
        until(charging.exists, "somebody charges", within_s=60)
        worker.signal(signal.SIGSTOP)
        if charging.exists():
            worker.signal(signal.SIGKILL)
            return
        worker.signal(signal.SIGCONT)
    raise AssertionError("the worker was never caught charging")


def charged_twice(intents: list[Object]) -> list[str]:
    return [
        order
        for order, times in Counter(intent["metadata"]["order"] for intent in intents).items()
        if times > 1
    ]


def all_finished(stripe: Stripe) -> bool:
    """Every job is done; a second charge, or a job that can never be done, is a failure at once."""
    assert charged_twice(stripe.intents()) == []
    assert (
        list(Job.objects.filter(state__in=("dead", "cancelled")).values("task", "args", "error"))
        == []
    )
    return not Job.objects.exclude(state="done").exists()


@pytest.mark.soak
def test_each_order_is_charged_once_in_stripes_own_book_whoever_dies(
    stack: Stack, stripe: Stripe, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock(on_hand=1000)
    web = stack.start_web()
    double = stripe.start(rings=web)
    place_orders(web, ApiKey.objects.issue(shop, []), order_body)
    tell(stripe.url, "flaw", flaw="slow", times=8, method="POST")
    worker = stack.start("worker")
    until(lambda: len(stripe.intents()) >= 3, "three charges are booked", within_s=60)
    catch_charging(worker)
    double.kill()
    stack.start("worker")
    unanswered = Job.objects.filter(task="orders.tasks.charge", error__message__icontains="refused")
    until(unanswered.exists, "a charge finds nobody at Stripe", within_s=60)
    double = stripe.start(rings=web)
    until(
        lambda: len(stripe.intents()) >= 2 * ORDERS // 3,
        "two thirds of the charges are booked",
        within_s=120,
    )
    double.kill()
    stripe.start(rings=web)
    until(lambda: all_finished(stripe), "every job is done", within_s=180)
    assert_the_books_say_the_same(stripe.intents())
    assert_enough_went_wrong()
    assert ProviderEvent.objects.exists()


def place_orders(web: Web, key: str, order_body: Callable[..., Any]) -> None:
    """One with each token, and the others with any."""
    dice = random.Random(SEED)
    for index in range(ORDERS):
        token = TOKENS[index] if index < len(TOKENS) else dice.choice(TOKENS)
        body = order_body(external_id=f"o-{index}", payment={"token": token})
        headers = {"Authorization": f"Bearer {key}", "Idempotency_Key": f"k-{index}"}
        assert web.ask("POST", "/v1/orders", body, **headers)[0] == 202


def assert_enough_went_wrong() -> None:
    lost = Sum(F("losses") + F("shared_losses"))  # whoever died with several calls at once
    assert Job.objects.aggregate(n=lost)["n"] >= 1, (
        "no worker died in the middle, so nothing was tested"
    )
    assert Job.objects.filter(task="orders.tasks.charge", attempts__gt=1).count() >= 5, (
        "too few answers were lost"
    )


def assert_the_books_say_the_same(intents: list[Object]) -> None:
    """Ours and Stripe's, joined by the order and by the operation."""
    orders = {str(order.pk): order for order in Order.objects.all()}
    assert Counter(intent["metadata"]["order"] for intent in intents) == Counter(list(orders))
    for intent in intents:
        order = orders[intent["metadata"]["order"]]
        operation = PaymentOperation.objects.get(pk=intent["metadata"]["operation"])
        assert (operation.order_id, operation.reference) == (order.pk, intent["id"])
        expected = ("cancelled", 0) if order.payment_token == DECLINED else ("confirmed", 660)
        assert (order.state, order.captured, intent["amount_received"]) == (*expected, expected[1])
    confirmed = sum(order.state == "confirmed" for order in orders.values())
    assert (len(orders), Stock.objects.get().reserved) == (ORDERS, 2 * confirmed)

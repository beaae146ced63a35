"""Two want the same at the same moment, over real HTTP: rows decide, and the books add up
afterwards.
"""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from notifications.models import Event
from orders.audit import MONEY, STOCK, broken
from orders.models import (
    ApiKey,
    Client,
    Fulfilment,
    IdempotencyKey,
    Order,
    Refund,
    Stock,
    StockMovement,
)
from orders.payments.models import PaymentOperation
from orders.payments.sandbox_book import SandboxCharge, SandboxRefund
from tests.orders.books import books_balance, given_back
from tests.promises.processes import Stack, Web
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
CLICKS, HANDS = 50, 6
PROBLEM = "/problems/"
REQUESTED = {"reason": "requested"}
TOKENS = ["tok_declined", pytest.param("tok_confirm", marks=pytest.mark.soak)]


@dataclass
class ShopCounter:
    """A shop's counter: a real web process, and one key."""

    web: Web
    key: str
    body: Callable[..., Any]

    def post(self, path: str, body: Any, key: str) -> tuple[int, Any, Any]:
        """One request; a first one that is still under way is asked for again, as its Retry-After
        says.
        """
        for _ in range(10):
            status, answer, answered = self.web.ask(
                "POST", path, body, Authorization=f"Bearer {self.key}", Idempotency_Key=key
            )
            if (status, answered["type"] if status == 409 else "") != (
                409,
                f"{PROBLEM}request-in-progress",
            ):
                break
        return status, answer.headers, answered

    def ordered(self, **changes: Any) -> str:
        """The path of a new order."""
        changes = {"external_id": str(uuid4()), **changes}
        status, headers, body = self.post("/v1/orders", self.body(**changes), str(uuid4()))
        assert status == 202, body
        return str(headers["Location"])

    def at_once(
        self, path: str, body: Any, *, hands: int = HANDS, key: str | None = None
    ) -> list[tuple[int, Any, Any]]:
        """The same request from many hands in one moment; under keys of their own, or all under
        this one.
        """
        return self.each_at_once([(path, body)] * hands, key=key)

    def each_at_once(
        self, requests: list[tuple[str, Any]], *, key: str | None = None
    ) -> list[tuple[int, Any, Any]]:
        """Each request from a hand of its own, in one moment."""
        together = threading.Barrier(len(requests))

        def click(request: tuple[str, Any]) -> tuple[int, Any, Any]:
            mine = key or str(uuid4())
            together.wait(timeout=10)
            return self.post(*request, mine)

        with ThreadPoolExecutor(len(requests)) as threads:
            return list(threads.map(click, requests))


@pytest.fixture
def counter(web: Web, shop: Client, stock: Any, order_body: Callable[..., Any]) -> ShopCounter:
    stock(on_hand=20)
    return ShopCounter(web, ApiKey.objects.issue(shop, []), order_body)


def outcomes(answers: list[tuple[int, Any, Any]]) -> Counter[str]:
    """How often each status and each kind of problem was answered."""
    return Counter(
        f"{status} {body['type'].removeprefix(PROBLEM)}" if status >= 400 else str(status)
        for status, _, body in answers
    )


def test_fifty_posts_under_one_key_make_one_order_and_get_one_answer(counter: ShopCounter) -> None:
    answers = counter.at_once("/v1/orders", counter.body(), hands=CLICKS, key="k")
    order = Order.objects.get()
    assert outcomes(answers) == {"202": CLICKS}
    assert {headers["Location"] for _, headers, _ in answers} == {f"/v1/orders/{order.pk}"}
    assert all(body == answers[0][2] for *_, body in answers)
    assert Counter(headers["Idempotent-Replayed"] for _, headers, _ in answers) == {
        "true": CLICKS - 1,
        None: 1,
    }
    assert (IdempotencyKey.objects.count(), Event.objects.count()) == (1, 1)
    assert Job.objects.filter(task="orders.tasks.reserve").count() == 1


def test_one_external_id_under_different_keys_is_one_order_to_which_the_others_are_led(
    counter: ShopCounter,
) -> None:
    answers = counter.at_once("/v1/orders", counter.body())
    order = Order.objects.get()
    assert outcomes(answers) == {"202": 1, "409 external-id-taken": HANDS - 1}
    assert {headers["Location"] for _, headers, _ in answers} == {f"/v1/orders/{order.pk}"}
    assert (IdempotencyKey.objects.count(), Event.objects.count()) == (1, 1)
    assert Job.objects.filter(task="orders.tasks.reserve").count() == 1


def test_many_cancels_give_goods_and_money_back_once(counter: ShopCounter) -> None:
    path = counter.ordered()
    work_off()
    answers = counter.at_once(f"{path}/cancel", REQUESTED)
    assert outcomes(answers) == {"202": HANDS}
    assert {(body["state"], body["version"]) for *_, body in answers} == {("cancelled", 4)}
    work_off()
    assert (Refund.objects.count(), given_back(), Order.objects.get().payment_state) == (
        1,
        660,
        "refunded",
    )
    assert StockMovement.objects.filter(kind="released").count() == 1
    assert books_balance()


def test_refunds_at_the_same_moment_never_give_back_more_than_was_paid(
    counter: ShopCounter,
) -> None:
    path = counter.ordered()
    work_off()
    answers = counter.at_once(f"{path}/refunds", {"amount": 300, "reason": "sorry"})
    assert outcomes(answers) == {"202": 2, "422 invalid": HANDS - 2}
    order = Order.objects.get()
    assert (order.captured, order.refund_pending) == (660, 600)
    work_off()
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending, given_back(), Refund.objects.count()) == (
        600,
        0,
        600,
        2,
    )


def test_the_last_unit_is_sent_once(counter: ShopCounter) -> None:
    path = counter.ordered()
    work_off()
    one = {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 1}]}
    assert counter.post(f"{path}/fulfilments", one, "first")[0] == 201
    answers = counter.at_once(f"{path}/fulfilments", one)
    assert outcomes(answers) == {"201": 1, "409 not-fulfillable": HANDS - 1}
    order, row = Order.objects.get(), Stock.objects.get()
    assert (order.state, order.units_fulfilled, Fulfilment.objects.count()) == ("completed", 2, 2)
    assert (row.on_hand, row.reserved, books_balance()) == (18, 0, True)


def test_the_last_unit_is_sent_or_withdrawn_and_never_both(counter: ShopCounter) -> None:
    """Some hands send it, some cancel the rest of the order, some take the unit back."""
    unit = {"lines": [{"position": 0, "quantity": 1}]}
    paths = [counter.ordered() for _ in range(3)]
    work_off()
    for path in paths:
        assert counter.post(f"{path}/fulfilments", unit, str(uuid4()))[0] == 201
        requests = [
            (f"{path}/fulfilments", unit),
            (f"{path}/cancel", REQUESTED),
            (f"{path}/refunds", {**unit, **REQUESTED, "restock": True}),
        ]
        answers = counter.each_at_once(requests * 2)
        assert sum(status == 201 for status, *_ in answers) <= 1
        assert max(status for status, *_ in answers) < 500
        order = Order.objects.get(pk=path.rsplit("/", 1)[1])
        line = order.lines.get()
        assert (order.state, line.fulfilled + line.withdrawn) == ("completed", 2)
    assert (Stock.objects.get().reserved, books_balance()) == (0, True)
    assert list(broken(MONEY | STOCK, limit=9)) == []


def test_goods_come_back_once(counter: ShopCounter) -> None:
    path = counter.ordered()
    work_off()
    assert counter.post(f"{path}/fulfilments", {"carrier": "Yamato"}, "all")[0] == 201
    unit = {"lines": [{"position": 0, "quantity": 1}], "restock": True, "reason": "too many"}
    answers = counter.at_once(f"{path}/refunds", {**unit, "amount": 0})
    assert outcomes(answers) == {"202": 2, "422 invalid": HANDS - 2}
    assert (Order.objects.get().lines.get().returned, Stock.objects.get().on_hand) == (2, 20)
    assert books_balance()


def test_the_last_piece_is_sold_once(counter: ShopCounter, stack: Stack) -> None:
    """Four real hands of two workers reserve for orders that came in the same moment."""
    Stock.objects.update(on_hand=3)
    StockMovement.objects.update(on_hand_delta=3)
    answers = counter.at_once("/v1/orders", counter.body(external_id=...))
    assert outcomes(answers) == {"202": HANDS}
    for _ in range(2):
        stack.start("worker")
    until(
        lambda: not Order.objects.filter(state__in=["received", "reserved"]).exists(),
        "all end",
        within_s=60,
    )
    assert Counter(Order.objects.values_list("state", "reason")) == {
        ("confirmed", ""): 1,
        ("cancelled", "out_of_stock"): HANDS - 1,
    }
    assert (Stock.objects.get().reserved, SandboxCharge.objects.count(), books_balance()) == (
        2,
        1,
        True,
    )


@pytest.mark.soak
def test_a_cancel_that_meets_the_charge_leaves_no_money_and_no_goods(
    counter: ShopCounter, stack: Stack
) -> None:
    """Some orders are cancelled before their charge, some during it, some after it."""
    stack.start("worker")
    paths = [counter.ordered() for _ in range(HANDS)]
    slow = counter.ordered(payment={"token": "tok_slow"})
    under_way = PaymentOperation.objects.filter(order_id=slow.rsplit("/", 1)[1], state="sent")

    with ThreadPoolExecutor(HANDS) as hands:
        early = hands.map(lambda path: counter.post(f"{path}/cancel", REQUESTED, "")[0], paths)
        assert set(early) == {202}
    until(under_way.exists, "the provider is charging", within_s=60)
    assert counter.post(f"{slow}/cancel", REQUESTED, "")[0] == 202

    until(_nothing_is_open, "each charge is refunded or was never made", within_s=60)
    assert Counter(Order.objects.values_list("state", flat=True)) == {"cancelled": HANDS + 1}
    assert [order.captured - order.refunded for order in Order.objects.all()] == [0] * (HANDS + 1)
    assert Order.objects.get(pk=slow.rsplit("/", 1)[1]).refunded == 660
    charged = sum(charge.amount for charge in SandboxCharge.objects.filter(status="succeeded"))
    assert (given_back(), Stock.objects.get().reserved, books_balance()) == (charged, 0, True)


# --- how it is paid -------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("token", TOKENS)
def test_another_card_from_many_hands_is_charged_once(
    counter: ShopCounter, stack: Stack, token: str
) -> None:
    stack.start("worker")
    path = counter.ordered(payment={"token": token, "attempts": 9})
    until(_its_customer_is_next, "another card may be tried", within_s=60)
    answers = counter.at_once(f"{path}/payments", {"token": "tok_ok"})
    assert outcomes(answers) == {"202": 1, "409 not-payable": HANDS - 1}
    until(_nothing_is_open, "the card is charged", within_s=60)
    assert _end() == ("confirmed", "paid", 660)
    assert sorted(PaymentOperation.objects.values_list("kind", "state")) == [
        ("charge", "succeeded"),
        ("tried", "declined"),
    ]


@pytest.mark.soak
@pytest.mark.parametrize("token", TOKENS)
def test_another_card_that_meets_a_cancel_leaves_no_money_and_no_goods(
    counter: ShopCounter, stack: Stack, token: str
) -> None:
    stack.start("worker")
    for _ in range(3):
        path = counter.ordered(payment={"token": token, "attempts": 9})
        until(_its_customer_is_next, "another card may be tried", within_s=60)
        requests = [(f"{path}/payments", {"token": "tok_ok"}), (f"{path}/cancel", REQUESTED)]
        answers = counter.each_at_once(requests * 2)
        assert {status for status, *_ in answers} <= {202, 409}
        until(_nothing_is_open, "each charge is refunded or was never made", within_s=60)
        assert (_end()[0], _end()[2], Stock.objects.get().reserved) == ("cancelled", 0, 0)


def test_money_from_elsewhere_is_noted_once_or_the_order_is_cancelled(counter: ShopCounter) -> None:
    for method in ("manual", "cod"):
        path = counter.ordered(payment={"method": method})
        work_off()
        answers = counter.at_once(f"{path}/mark-paid", {"reference": "cash"})
        assert outcomes(answers) == {"200": 1, "409 not-payable": HANDS - 1}
        assert _end() == ("confirmed", "paid", 660)
        path = counter.ordered(payment={"method": method})
        work_off()
        requests = [(f"{path}/mark-paid", {}), (f"{path}/cancel", REQUESTED)]
        answers = counter.each_at_once(requests * 3)
        noted = outcomes(answers)["200"]
        assert (noted <= 1, outcomes(answers)["202"]) == (True, 3)
        work_off()
        assert _end() == ("cancelled", "refunded" if noted else "none", 0)


def _its_customer_is_next() -> bool:
    return Order.objects.latest("pk").charge_state in ("failed", "action_required")


def _end() -> tuple[str, str, int]:
    """Of the newest order: how it stands, and what the shop has of its money. All books agree."""
    assert list(broken(MONEY | STOCK, limit=9)) == []
    assert books_balance()
    order = Order.objects.latest("pk")
    given = SandboxRefund.objects.filter(charge__key__startswith=str(order.pk))
    charged = SandboxCharge.objects.filter(key__startswith=str(order.pk), status="succeeded")
    if charged:
        assert [charge.amount for charge in charged] == [order.captured]
        assert sum(refund.amount for refund in given) == order.refunded
    return order.state, order.payment_state, order.captured - order.refunded


def _nothing_is_open() -> bool:
    jobs = Job.objects.filter(task__startswith="orders.tasks", state__in=["waiting", "running"])
    return not (
        PaymentOperation.objects.exclude(state__in=PaymentOperation.ENDED).exists() or jobs.exists()
    )

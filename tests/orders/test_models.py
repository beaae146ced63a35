"""Orders, stock and money on a real Postgres, also with eight hands at once."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from orders.inputs.order import OrderInput
from orders.models import TRANSITIONS, Client, IdempotencyKey, Order, State, Stock, StockMovement
from orders.payments.provider import Charge, Intent
from orders.payments.sandbox import Sandbox
from orders.payments.sandbox_book import SandboxCharge
from orders.tasks import forget_old_keys, hold_order, place
from tests.orders.books import books_balance
from tests.postgres.hands import in_threads

pytestmark = pytest.mark.django_db(transaction=True)
Place = Callable[..., Order]
HALF_A_DAY = timedelta(hours=12)


@pytest.fixture
def placed(shop: Client, order_body: Callable[..., dict[str, Any]]) -> Place:
    ids = count()

    def order(
        token: str = "tok_ok", quantities: dict[str, int] | None = None, **changes: Any
    ) -> Order:
        lines: list[dict[str, Any]] = [
            {"sku": sku, "quantity": quantity, "unit_price": 300}
            for sku, quantity in (quantities or {"SAKE-NIGIRI": 2}).items()
        ]
        total = sum(line["quantity"] * 300 for line in lines)
        fields = {
            "external_id": f"o-{next(ids)}",
            "lines": lines,
            "total": total,
            "payment": {"token": token},
        }
        with transaction.atomic():
            return place(shop, OrderInput.model_validate(order_body(**{**fields, **changes})))

    return order


# --- stock ----------------------------------------------------------------------------------------


def test_lines_of_one_sku_are_merged_and_all_goods_are_reserved_or_none(
    placed: Place, stock: Any
) -> None:
    stock("SAKE-NIGIRI", 5)
    stock("UNI-NIGIRI", 1)
    line = {"sku": "SAKE-NIGIRI", "quantity": 3, "unit_price": 0}
    too_much = placed(lines=[line, line], total=0)
    one_short = placed(quantities={"SAKE-NIGIRI": 1, "UNI-NIGIRI": 2})
    fits = placed(lines=[line, {**line, "quantity": 2}], total=0)
    work_off()
    states = {order.pk: (order.state, order.reason) for order in Order.objects.all()}
    assert states[too_much.pk] == states[one_short.pk] == ("cancelled", "out_of_stock")
    assert states[fits.pk] == ("confirmed", "")
    assert dict(Stock.objects.values_list("sku", "reserved")) == {"SAKE-NIGIRI": 5, "UNI-NIGIRI": 0}
    assert books_balance()


def test_eight_hands_never_oversell_and_never_deadlock(placed: Place, stock: Any) -> None:
    """120 orders for 150 goods of two kinds, wanted in both orders; only so many can be had."""
    stock("A", 90)
    stock("B", 60)
    orders = [
        placed(quantities={"A": 1, "B": 1} if index % 2 else {"B": 1, "A": 1})
        for index in range(120)
    ]

    def reserve(order: Order) -> bool:
        with transaction.atomic():
            return Order.objects.locked(order.pk).reserve()

    got = in_threads(reserve, orders)
    assert got.count(True) == 60
    assert dict(Stock.objects.values_list("sku", "reserved")) == {"A": 60, "B": 60}
    assert books_balance()


def test_postgres_itself_refuses_to_oversell(stock: Any) -> None:
    stock("A", 1)
    with pytest.raises(IntegrityError, match="stock_never_oversold"):
        Stock.objects.update(reserved=2)


def test_an_order_gives_back_or_takes_its_goods_only_once(placed: Place, stock: Any) -> None:
    stock()
    order = placed()
    work_off()
    with pytest.raises(IntegrityError, match="stock_reserved_once"), transaction.atomic():
        Stock.objects.reserve(order)
    assert Stock.objects.get().reserved == 2


# --- money ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "state", "payment_state", "reason", "charges"),
    [
        ("tok_ok", "confirmed", "paid", "", 1),
        ("tok_declined", "cancelled", "failed", "payment_declined", 1),
        ("tok_slow", "confirmed", "paid", "", 1),
        ("tok_timeout", "confirmed", "paid", "", 1),
        ("tok_flaky", "confirmed", "paid", "", 1),
        ("tok_webhook_first", "confirmed", "paid", "", 1),
        ("tok_webhook_twice", "confirmed", "paid", "", 1),
        ("tok_webhook_never", "confirmed", "paid", "", 1),
        ("tok_unheard_of", "cancelled", "failed", "payment_declined", 1),
    ],
)
def test_whatever_the_card_does_the_order_ends_and_is_charged_at_most_once(
    placed: Place,
    stock: Any,
    settings: Any,
    token: str,
    state: str,
    payment_state: str,
    reason: str,
    charges: int,
) -> None:
    settings.SANDBOX_SLOW_S = settings.PAYMENT_TIMEOUT_S = 0.01
    stock()
    order = placed(token)
    work_off(ahead=HALF_A_DAY)
    order.refresh_from_db()
    assert (order.state, order.payment_state, order.reason) == (state, payment_state, reason)
    booked = (
        SandboxCharge.objects.filter(status="succeeded").aggregate(sum=Sum("amount"))["sum"] or 0
    )
    assert (SandboxCharge.objects.count(), booked) == (charges, order.captured)
    assert Stock.objects.get().reserved == (2 if state == "confirmed" else 0)
    assert books_balance()
    assert Job.objects.exclude(state="done").count() == 0


def test_an_order_that_costs_nothing_is_confirmed_without_a_charge(
    placed: Place, stock: Any
) -> None:
    stock()
    order = placed(lines=[{"sku": "SAKE-NIGIRI", "quantity": 1, "unit_price": 0}], total=0)
    work_off()
    order.refresh_from_db()
    assert (order.state, order.payment_state, SandboxCharge.objects.count()) == (
        "confirmed",
        "none",
        0,
    )


def test_a_charge_that_nobody_answers_for_puts_the_order_on_hold(
    placed: Place, stock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock()
    monkeypatch.setattr("orders.payments.sandbox.FLAKY_FAILURES", 1000)
    order = placed("tok_flaky")
    work_off(ahead=HALF_A_DAY)
    order.refresh_from_db()
    assert (order.state, order.held, order.hold_reason, order.payment_state) == (
        "reserved",
        True,
        "payment_unknown",
        "pending",
    )
    assert Job.objects.get(task="orders.tasks.charge").state == "dead"


def test_an_unanswered_charge_is_asked_for_before_it_is_made_again(
    placed: Place, stock: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a provider that forgets idempotency keys is charged once, since we ask first."""
    settings.PAYMENT_TIMEOUT_S = 0.01
    charge, calls = Sandbox.charge, list[str]()

    def charge_and_note(self: Sandbox, intent: Intent) -> Charge:
        calls.append(intent.key)
        return charge(self, intent)

    monkeypatch.setattr(Sandbox, "charge", charge_and_note)
    stock()
    order = placed("tok_timeout")
    work_off(ahead=HALF_A_DAY)
    assert calls == [f"{order.pk}-charge"]


def test_steps_that_transitions_does_not_have_are_refused(placed: Place, stock: Any) -> None:
    stock()
    order = placed()
    for start in State:
        for end in set(State) - TRANSITIONS[start]:
            order.state = start
            with pytest.raises(ValueError, match=f"cannot go from {start} to {end}"):
                order.move(end)
    order.refresh_from_db()
    assert (order.state, order.version) == ("received", 1)


def test_postgres_refuses_a_confirmed_order_that_is_not_paid(placed: Place, stock: Any) -> None:
    stock()
    placed()
    with pytest.raises(IntegrityError, match="order_confirmed_is_paid"):
        Order.objects.update(state="confirmed")


def test_every_step_run_twice_changes_nothing(placed: Place, stock: Any) -> None:
    """A shop's tasks are idempotent also where the ledger would not call them twice."""
    stock()
    order = placed()
    work_off()
    before = (
        list(Order.objects.values()),
        StockMovement.objects.count(),
        SandboxCharge.objects.count(),
    )
    for job in Job.objects.filter(task__startswith="orders."):
        module, name = job.task.rsplit(".", 1)
        with transaction.atomic():
            vars(__import__(module, fromlist=[name]))[name](*job.args[0])
    assert (
        list(Order.objects.values()),
        StockMovement.objects.count(),
        SandboxCharge.objects.count(),
    ) == before
    assert order.pk == Order.objects.get().pk


@pytest.mark.parametrize(
    ("task", "token", "reason"),
    [
        ("reserve", "tok_ok", "reservation_failed"),
        ("poll_payment", "tok_webhook_never", "payment_unknown"),
    ],
)
def test_whatever_step_dies_the_order_is_on_hold(
    placed: Place, stock: Any, monkeypatch: pytest.MonkeyPatch, task: str, token: str, reason: str
) -> None:
    """Invariant I10, for the steps around the charge."""
    stock()
    order = placed(token)
    monkeypatch.setattr(f"orders.tasks.{task}.run", lambda *_: 1 / 0)
    work_off(ahead=HALF_A_DAY)
    order.refresh_from_db()
    assert (order.held, order.hold_reason) == (True, reason)


def test_a_late_success_takes_the_order_off_hold(placed: Place, stock: Any) -> None:
    stock()
    order = placed("tok_webhook_never")
    work_off()
    with transaction.atomic():
        Order.objects.locked(order.pk).hold("payment_unknown")
    work_off(ahead=HALF_A_DAY)
    order.refresh_from_db()
    assert (order.state, order.held, order.hold_reason) == ("confirmed", False, "")


def test_a_person_who_holds_an_order_that_is_on_hold_already_keeps_it_there(
    placed: Place, stock: Any
) -> None:
    """Also when the charge that nobody knew of is found."""
    stock()
    order = placed("tok_webhook_never")
    work_off()
    for reason in ("payment_unknown", "another", "looks odd", "looks odd", "payment_unknown"):
        with transaction.atomic():
            Order.objects.locked(order.pk).hold(reason)
    order.refresh_from_db()
    assert (order.hold_reason, order.version) == ("looks odd", 5)
    work_off(ahead=HALF_A_DAY)
    order.refresh_from_db()
    assert (order.state, order.held, order.hold_reason) == ("confirmed", True, "looks odd")


def test_an_order_that_is_confirmed_is_not_put_on_hold(placed: Place, stock: Any) -> None:
    stock()
    order = placed()
    work_off()
    hold_order.delay(str(order.pk), "payment_unknown")
    hold_order.delay(str(order.pk), "reservation_failed")
    work_off()
    order.refresh_from_db()
    assert (order.held, order.version) == (False, 3)


def test_old_idempotency_keys_are_forgotten_batch_by_batch(shop: Client, settings: Any) -> None:
    settings.BATCH_ROWS = 2
    IdempotencyKey.objects.bulk_create(
        IdempotencyKey(client=shop, key=f"k-{index}", fingerprint=b"x") for index in range(6)
    )
    IdempotencyKey.objects.exclude(key="k-5").update(created_at=timezone.now() - timedelta(days=31))
    forget_old_keys.delay()
    work_off()
    assert [row.key for row in IdempotencyKey.objects.all()] == ["k-5"]


def test_a_number_that_is_taken_is_drawn_again(
    shop: Client, stock: Any, order_body: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stock()
    drawn = iter(["2222-2222", "2222-2222", "3333-3333"])
    monkeypatch.setattr("orders.models.placed.queryset.new_number", lambda: next(drawn))
    for name in ("first", "second"):
        with transaction.atomic():
            place(shop, OrderInput.model_validate(order_body(external_id=name)))
    numbers = {order.external_id: order.number for order in Order.objects.all()}
    assert numbers == {"first": "2222-2222", "second": "3333-3333"}


def test_an_order_shows_its_lines_as_they_are_after_each_change(
    shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock()
    with transaction.atomic():
        order = place(shop, OrderInput.model_validate(order_body()))
    assert [line["withdrawn"] for line in order.snapshot()["lines"]] == [0]
    order.lines.update(withdrawn=1)
    order.refresh_from_db()
    assert [line["withdrawn"] for line in order.snapshot()["lines"]] == [1]


def test_the_short_wait_for_an_idempotency_key_ends_with_it(shop: Client) -> None:
    def lock_timeout() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            return str(cursor.fetchone()[0])

    with transaction.atomic():
        before = lock_timeout()
        IdempotencyKey.objects.begin(shop, "k-1", {})
        assert lock_timeout() == before

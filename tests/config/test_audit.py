"""`manage.py audit`: clean books are ok; each thing that is off is named, with its order."""

from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from celery_ledger.testing import work_off
from notifications.models import Delivery, Event
from orders.models import Order
from orders.payments.sandbox_book import SandboxCharge, SandboxRefund
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
CLEAN = [f"ok     {about:<10}  adds up." for about in ("stock", "money", "provider", "deliveries")]


@pytest.fixture
def order(api: Api, stock: Any, order_body: Callable[..., Any]) -> Order:
    """Two orders: one has gone the whole way, partly sent and partly refunded; one is cancelled
    with its money back.
    """
    stock()
    paths = [
        api.place(order_body(external_id=str(index)), key=str(index)).json()["links"]["self"]
        for index in range(2)
    ]
    work_off()
    post(api, f"{paths[0]}/fulfilments", {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 1}]})
    post(api, f"{paths[0]}/refunds", {"amount": 100, "reason": "sorry"})
    post(api, f"{paths[1]}/cancel")
    work_off()
    return Order.objects.get(external_id="0")


def audit(*words: str) -> list[str]:
    """What it prints, and whether it fails exactly when it should."""
    output = StringIO()
    try:
        call_command("audit", *words, stdout=output)
        failed = False
    except CommandError:
        failed = True
    lines = output.getvalue().splitlines()
    assert failed == any(line.startswith("WRONG") for line in lines)
    return lines


def test_books_that_add_up(order: Order) -> None:
    assert audit() == CLEAN


@pytest.mark.parametrize("days", ["-1", "1000000", "9" * 20, "a week"])
def test_days_that_are_in_no_calendar_are_refused(days: str) -> None:
    with pytest.raises(CommandError, match="--provider-days: a whole number from 0 to 36500"):
        call_command("audit", f"--provider-days={days}")


def by_hand(sql: str, *values: Any) -> None:
    """What no code of ours does; Postgres' own checks would refuse some of it."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


@pytest.mark.parametrize(
    ("sql", "about", "sentence"),
    [
        (
            "UPDATE orders_stock SET on_hand = on_hand + 1",
            "stock",
            "SAKE-NIGIRI: on hand 100 and reserved 1, but its",
        ),
        (
            "UPDATE orders_orderline SET withdrawn = 1 WHERE order_id = %s",
            "stock",
            "{order} (confirmed): its movem",
        ),
        (
            "DELETE FROM orders_stockmovement WHERE kind = 'shipped'",
            "stock",
            "SAKE-NIGIRI: on hand 99 and",
        ),
        (
            (
                "UPDATE orders_paymentoperation SET state = 'pending' "
                "WHERE kind = 'charge' AND order_id = %s"
            ),
            "money",
            "{order}: captured 660, but its charges come to 0",
        ),
        (
            "UPDATE orders_order SET refunded = refunded - 1 WHERE id = %s",
            "money",
            "{order}: refunded 99 and promised 0, but its refunds come to 100 and 0",
        ),
        (
            "UPDATE orders_orderline SET refunded = refunded - 1 WHERE order_id = %s",
            "money",
            "{order}: its lines and shipping were refunded 99, but the order 100",
        ),
        (
            "UPDATE orders_order SET units_fulfilled = units_fulfilled + 1 WHERE id = %s",
            "stock",
            "{order}: 2 of 2 units are sent, but its lines come to 1 of 2",
        ),
        (
            "UPDATE orders_orderline SET announced = 1 WHERE order_id = %s",
            "stock",
            "{order}: 1 of SAKE-NIGIRI are announced to come back, but its open returns come to 0",
        ),
        (
            "UPDATE orders_order SET refunded = 99, refund_pending = 1 WHERE id = %s",
            "money",
            "{order}: partially_refunded, captured 660, refunded 99, promised 1, but its newest "
            "event says partially_refunded, 660, 100, 0",
        ),
        (
            "UPDATE notifications_event SET data = jsonb_set(data, '{order,payment_state}', "
            "'\"paid\"') WHERE kind = 'order.refunded' AND subject = %s",
            "money",
            "{order}: partially_refunded, captured 660, refunded 100, promised 0, but its newest "
            "event says paid, 660, 100, 0",
        ),
    ],
)
def test_what_does_not_add_up_is_named(order: Order, sql: str, about: str, sentence: str) -> None:
    by_hand(sql, *([order.pk] if "%s" in sql else []))
    wrong = [line for line in audit() if line.startswith(f"WRONG  {about}")]
    assert any(sentence.format(order=f"order {order.number}") in line for line in wrong), audit()


def test_a_charge_that_the_provider_does_not_have_is_named(order: Order) -> None:
    SandboxRefund.objects.all().delete()
    SandboxCharge.objects.filter(key=f"{order.pk}-charge").update(status="declined")
    lines = [line for line in audit() if line.startswith("WRONG")]
    number = order.number
    assert (
        f"WRONG  provider    order {number}: our charge of 660 JPY is succeeded, "
        "but sandbox says declined of 660"
    ) in lines
    assert (
        f"WRONG  provider    order {number}: our refund of 100 JPY is succeeded, "
        "but sandbox has none"
    ) in lines
    assert [line for line in audit("--provider-days", "0") if "provider" in line] == [CLEAN[2]]


def test_a_delivery_that_nobody_carries_is_named(order: Order) -> None:
    delivery = Delivery.objects.first()
    assert delivery is not None
    Delivery.objects.filter(pk=delivery.pk).update(state="waiting", delivered_at=None)
    [wrong] = [line for line in audit() if line.startswith("WRONG")]
    assert wrong == (
        f"WRONG  deliveries  delivery {delivery.pk} (mail to {delivery.target}) waits, "
        "and no job is on its way"
    )


def test_a_delivery_that_was_asked_for_again_and_that_nobody_resends_is_named(order: Order) -> None:
    Delivery.objects.filter(pk=Delivery.objects.values("pk")[:1]).update(resend=True)
    [wrong] = [line for line in audit() if line.startswith("WRONG")]
    assert wrong.endswith("was asked for again, and no job is on its way")


def test_an_event_that_nobody_is_told_of_is_named(order: Order) -> None:
    event = Event.objects.get(subject=order.pk, kind="order.confirmed")
    event.deliveries.all().delete()
    [wrong] = [line for line in audit() if line.startswith("WRONG")]
    assert wrong.startswith(
        f"WRONG  deliveries  event {event.pk} (order.confirmed): not everybody was told of it"
    )


def test_an_endpoint_that_listens_to_more_than_before_was_not_owed_it(
    api: Api, stock: Any, order_body: Callable[..., Any]
) -> None:
    json = "application/json"
    draft = {"url": "https://hooks.example.com/", "events": ["order.held"]}
    endpoint = api.post("/v1/webhook-endpoints", draft, content_type=json).json()
    stock()
    api.place(order_body())
    work_off()
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    assert api.patch(path, {"events": ["*"]}, content_type=json).json()["events"] == ["*"]
    assert audit() == CLEAN


def test_a_gap_in_a_timeline_is_named(order: Order) -> None:
    Event.objects.create(kind="order.held", subject=order.pk, seq=99, owner=uuid4(), data={})
    assert any(f"subject {order.pk}: its newest event is number 99" in line for line in audit())

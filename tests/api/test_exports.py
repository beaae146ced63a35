"""/v1/exports: what is exported is what an import reads back, with the same books."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from orders.audit import MONEY, STOCK, broken
from orders.models import Client
from orders.reports import figures
from orders.reports.days import Day, day_of
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
Body = Callable[..., dict[str, Any]]
A_DAY = timedelta(days=1)
TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


def exported(api: Api, query: str = "", key: str = "export-1") -> list[bytes]:
    """The files of an export of these orders."""
    answer = api.post(f"/v1/exports/orders{query}", headers={"Idempotency-Key": key})
    assert answer.status_code == 202, answer.content
    work_off(ahead=A_DAY)
    links = api.get(answer["Location"]).json()["links"]
    return [api.get(link).content for link in links["files"]]


def imported(api: Api, file: bytes, form: str = "csv") -> dict[str, Any]:
    """What became of a file, imported in quiet."""
    headers = {"Idempotency-Key": f"import-{hash(file)}"}
    answer = api.post("/v1/imports?quiet=true", file, TYPES[form], headers=headers)
    assert answer.status_code == 202, answer.content
    work_off(ahead=A_DAY)
    read: dict[str, Any] = api.get(answer["Location"]).json()
    return read


def books() -> dict[str, Any]:
    """What has moved today, and what Postgres' own sums say of it."""
    assert list(broken(MONEY | STOCK, limit=10)) == []
    today = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), sum(captured), sum(refunded), sum(refund_pending) FROM orders_order"
        )
        [sums] = cursor.fetchall()
    found = {}
    for client in Client.objects.all():
        found[client.name] = figures.at_once(client.pk, Day(day_of(today)), until=today)
    return {"sums": sums, "figures": found}


def emptied(shop: Client) -> None:
    """Another installation, as far as orders go."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE orders_order, orders_stock, notifications_event CASCADE")
    Job.objects.all().delete()


@pytest.fixture
def a_day(api: Api, stock: Any, order_body: Body) -> None:
    """Orders of every kind: sent, sent in part, returned, refunded, cancelled, declined, sold out,
    on their way; with texts that a spreadsheet would take for something else.
    """
    stock(on_hand=100)
    stock("EBI", on_hand=100, name="海老, gekocht")
    stock("FEW", on_hand=1, name="")
    ebi = {"sku": "EBI", "name": "", "quantity": 3, "unit_price": 100, "discount": 0, "tax": 0}

    def place(name: str | None, **changes: Any) -> str:
        body = order_body(external_id=name, **changes)
        return str(api.place(body, key=f"key-{name}").json()["id"])

    sent, part, back, money = (place(name) for name in ("sent", "part", "back", "money"))
    place("open", note='=1+1\n\'-1 "quoted"', tags=["a,b", "c"], metadata={"+1": "x", "k": "'=1"})
    gone = place("gone")
    place("declined", payment={"token": "tok_declined"})
    few = {**ebi, "sku": "FEW", "quantity": 2}
    place("sold-out", lines=[few], total=200)
    place(None, lines=[ebi, {**ebi, "quantity": 1}], total=450, shipping={"amount": 40, "tax": 10})
    place("free", lines=[{**ebi, "unit_price": 0}], total=0)
    place("transfer", payment={"method": "bank_transfer"})
    address = {"name": "山田花子", "line1": "1-2-3", "postal_code": "150-0001", "country": "JP"}
    customer = {"name": "-山田", "phone": "+81 3 1234", "external_id": "c-1"}
    place("whom", customer=customer, shipping_address=address, billing_address=address)
    work_off()
    for order in (sent, back, money):
        assert post(api, f"/v1/orders/{order}/fulfilments").status_code == 201
    lines = [{"position": 0, "quantity": 1}]
    post(api, f"/v1/orders/{part}/fulfilments", {"lines": lines})
    restock = {"lines": lines, "restock": True, "reason": "came back"}
    assert post(api, f"/v1/orders/{back}/refunds", restock).status_code == 202
    post(api, f"/v1/orders/{money}/refunds", {"amount": 100, "reason": "sorry"})
    work_off()
    post(api, f"/v1/orders/{money}/refunds", {"amount": 50, "reason": "sorry again"})
    post(api, f"/v1/orders/{gone}/cancel", {"reason": "changed my mind"})
    work_off()


@pytest.mark.parametrize("form", ["csv", "ndjson"])
@pytest.mark.usefixtures("a_day")
def test_what_is_exported_makes_the_same_books_in_an_empty_shop(
    api: Api, shop: Client, stock: Any, form: str
) -> None:
    before = books()
    [file] = exported(api, f"?format={form}")
    emptied(shop)
    stock(on_hand=98)
    stock("EBI", on_hand=97, name="海老, gekocht")
    result = imported(api, file, form)
    assert (result["total"], result["failed"]) == (12, 0)
    again = exported(api, f"?format={form}", key="export-2")
    print(again[0].decode())
    assert again == [file]
    assert books() == before

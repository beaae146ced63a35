"""/v1/exports: what is exported is what an import reads back, with the same books."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from orders.audit import MONEY, STOCK, broken
from orders.exports import tasks
from orders.exports.models import Export, ExportPart
from orders.imports.files.reading import Format
from orders.models import ApiKey, Client, Erasure, Order
from orders.reports import figures
from orders.reports.days import Day, day_of
from tests.postgres.hands import Hand
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
    erased = place("erased", email="taro@example.com")
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
    send_and_refund(api, sent=sent, part=part, back=back, money=money)
    post(api, f"/v1/orders/{gone}/cancel", {"reason": "changed my mind"})
    post(api, f"/v1/orders/{erased}/cancel")
    work_off()
    assert post(api, "/v1/customers/erase", {"email": "taro@example.com"}).status_code == 202
    work_off()


def send_and_refund(api: Api, *, sent: str, part: str, back: str, money: str) -> None:
    for order in (sent, back, money):
        assert post(api, f"/v1/orders/{order}/fulfilments").status_code == 201
    lines = [{"position": 0, "quantity": 1}]
    post(api, f"/v1/orders/{part}/fulfilments", {"lines": lines})
    restock = {"lines": lines, "restock": True, "reason": "came back"}
    assert post(api, f"/v1/orders/{back}/refunds", restock).status_code == 202
    post(api, f"/v1/orders/{money}/refunds", {"amount": 100, "reason": "sorry"})
    work_off()
    post(api, f"/v1/orders/{money}/refunds", {"amount": 50, "reason": "sorry again"})


def test_no_export_begins_while_the_last_of_a_person_is_erased(shop: Client, api: Api) -> None:
    """It would read an order as it was, and be none of those that the erasure deletes."""
    with transaction.atomic():
        erasure = Erasure.objects.begin(shop.pk, "taro@example.com", by="a key")
    with Hand() as erasing, Hand() as exporting:
        erasing.open_transaction()
        assert erasing.do(lambda: Erasure.objects.locked(erasure.pk).go_on()) is False
        exporting.open_transaction()
        begun = exporting.begin(lambda: Export.objects.begin(shop, {}, form=Format.CSV, bom=False))
        exporting.wait_until_blocked()
        erasing.commit()
        begun.result(timeout=10)
        exporting.commit()
    assert Export.objects.count() == 1


@pytest.mark.parametrize("form", ["csv", pytest.param("ndjson", marks=pytest.mark.soak)])
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
    assert (result["total"], result["failed"]) == (13, 0)
    again = exported(api, f"?format={form}", key="export-2")
    print(again[0].decode())
    assert again == [file]
    assert books() == before


@pytest.mark.parametrize("form", ["csv", pytest.param("ndjson", marks=pytest.mark.soak)])
@pytest.mark.usefixtures("a_day")
def test_what_is_exported_changes_nothing_where_it_came_from(api: Api, form: str) -> None:
    before, [file] = books(), exported(api, f"?format={form}")
    headers = {"Idempotency-Key": "trial"}
    trial = api.post("/v1/imports?quiet=true&dry_run=true", file, TYPES[form], headers=headers)
    assert (trial.json()["ok"], trial.json()["errors"]) == (13, [])
    result = imported(api, file, form)
    assert (result["total"], result["became"]["refused"]) == (13, 0)
    assert exported(api, f"?format={form}", key="export-2") == [file]
    assert books() == before


def test_every_query_of_a_list_narrows_an_export(api: Api, stock: Any, order_body: Body) -> None:
    stock()
    for index in range(3):
        api.place(
            order_body(external_id=f"o-{index}", email=f"{index}@example.com"), key=str(index)
        )
    work_off()
    [file] = exported(api, "?format=ndjson&email=1@example.com&state=confirmed")
    assert [json.loads(line)["external_id"] for line in file.splitlines()] == ["o-1"]
    assert exported(api, "?state=cancelled", key="nothing") == []


def test_an_export_comes_in_files_that_an_import_takes_and_goes_on_where_it_ended(
    api: Api, shop: Client, stock: Any, order_body: Body, settings: Any
) -> None:
    settings.EXPORT_PART_ORDERS, settings.EXPORT_MAX_ORDERS, settings.EXPORT_PAGE_ORDERS = 3, 5, 2
    stock()
    for index in range(7):
        api.place(order_body(external_id=f"o-{index}"), key=str(index))
    work_off()
    files = exported(api, "?bom=true")
    assert [file.count(b"\r\n") for file in files] == [1 + 3, 1 + 2]
    assert all(file.startswith(b"\xef\xbb\xbfexternal_id,currency,") for file in files)
    first = Export.objects.get()
    export = api.get(f"/v1/exports/{first.pk}").json()
    assert (export["state"], export["orders"]) == ("done", 5)
    rest = exported(api, f"?after={export['next']}", key="export-2")
    assert [file.count(b"\r\n") for file in rest] == [1 + 2]
    again = Export.objects.latest("created_at")
    assert api.get(f"/v1/exports/{again.pk}").json()["next"] is None
    emptied(shop)
    stock()
    names = [imported(api, file) and set(names_in_the_book()) for file in (*files, *rest)]
    assert list(map(len, names)) == [3, 5, 7]


def names_in_the_book() -> list[str | None]:
    return list(Order.objects.values_list("external_id", flat=True))


def test_a_file_is_cut_by_its_size_too(
    api: Api, stock: Any, order_body: Body, settings: Any
) -> None:
    settings.EXPORT_PART_BYTES, settings.EXPORT_PAGE_ORDERS = 500, 1
    stock()
    for index in range(5):
        api.place(order_body(external_id=f"o-{index}"), key=str(index))
    files = exported(api, "?format=ndjson")
    assert [file.count(b"\n") for file in files] == [2, 2, 1]
    assert all(len(file) < 2 * 500 for file in files)


def test_orders_that_come_while_it_is_written_are_not_in_it(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    api.place(order_body(external_id="before"), key="before")
    answer = api.post("/v1/exports/orders", headers={"Idempotency-Key": "e"})
    api.place(order_body(external_id="after"), key="after")
    work_off()
    export = api.get(answer["Location"]).json()
    assert export["orders"] == 1
    assert b"after" not in api.get(export["links"]["files"][0]).content


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("?format=xlsx", "/query/format"),
        ("?format=ndjson&bom=true", "/query/bom"),
        ("?after=1", "/query/after"),
        ("?state=new", "/query/state"),
        ("?limit=1", "/query/limit"),
    ],
)
def test_what_cannot_be_exported_is_refused_by_its_name(api: Api, query: str, pointer: str) -> None:
    answer = api.post(f"/v1/exports/orders{query}", headers={"Idempotency-Key": "e"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert Export.objects.count() == 0


def test_an_export_happens_once_and_is_nobody_elses(api: Api, stock: Any) -> None:
    assert api.post("/v1/exports/orders").status_code == 400
    stock()
    first = api.post("/v1/exports/orders", headers={"Idempotency-Key": "e"})
    again = api.post("/v1/exports/orders", headers={"Idempotency-Key": "e"})
    assert (again["Location"], again["Idempotent-Replayed"]) == (first["Location"], "true")
    other = api.post("/v1/exports/orders?bom=true", headers={"Idempotency-Key": "e"})
    assert other.json()["type"] == "/problems/idempotency-key-reused"
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), []))
    work_off()
    assert stranger.get(first["Location"]).status_code == 404
    ExportPart.objects.create(export=Export.objects.get(), number=1, content=b"x")
    [link] = api.get(first["Location"]).json()["links"]["files"]
    assert [client.get(link).status_code for client in (api, stranger)] == [200, 404]
    assert api.get(link.replace("/1", "/2")).status_code == 404


def test_so_many_run_at_a_time(api: Api, settings: Any) -> None:
    settings.EXPORTS_RUNNING_PER_CLIENT = 1
    answers = [
        api.post("/v1/exports/orders", headers={"Idempotency-Key": key}) for key in ("a", "b")
    ]
    assert [answer.status_code for answer in answers] == [202, 409]
    assert answers[1].json()["type"] == "/problems/too-many-exports"


def test_one_that_cannot_be_written_has_failed_and_gives_its_place_free(
    api: Api, stock: Any, order_body: Body, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EXPORTS_RUNNING_PER_CLIENT = 1
    stock()
    api.place(order_body())
    monkeypatch.setattr("orders.exports.models.bodies", lambda orders: 1 / 0)
    answer = api.post("/v1/exports/orders", headers={"Idempotency-Key": "e"})
    work_off()
    export = api.get(answer["Location"]).json()
    assert (export["state"], export["links"]["files"]) == ("failed", [])
    second = api.post("/v1/exports/orders", headers={"Idempotency-Key": "f"})
    assert second.status_code == 202


def test_one_that_its_client_cancels_has_failed(api: Api) -> None:
    answer = api.post("/v1/exports/orders", headers={"Idempotency-Key": "e"})
    [job] = api.get("/v1/jobs?task=orders.exports.tasks.write_part").json()["data"]
    assert api.post(f"/v1/jobs/{job['id']}/cancel").status_code == 200
    work_off()
    assert api.get(answer["Location"]).json()["state"] == "failed"


def test_no_file_outlives_the_person_it_names(api: Api, stock: Any, order_body: Body) -> None:
    """Nor one that is being written meanwhile."""
    stock()
    api.place(order_body(payment={"token": "tok_declined"}))
    work_off()
    assert b"hana@example.com" in exported(api)[0]
    api.post("/v1/exports/orders", headers={"Idempotency-Key": "running"})
    post(api, "/v1/customers/erase", {"email": "hana@example.com"})
    Job.objects.filter(task="orders.tasks.erase").update(due_at=timezone.now() - A_DAY)
    work_off()
    assert (Export.objects.count(), ExportPart.objects.count()) == (0, 0)
    assert not Job.objects.exclude(state="done").exists()


def test_old_exports_are_forgotten_with_their_files(
    api: Api, stock: Any, order_body: Body, settings: Any
) -> None:
    settings.EXPORT_PART_ORDERS = settings.BATCH_ROWS = 1
    stock()
    for index in range(3):
        api.place(order_body(external_id=f"o-{index}"), key=str(index))
    assert len(exported(api)) == 3
    Export.objects.update(created_at=timezone.now() - settings.EXPORT_KEEP)
    assert len(exported(api, key="young")) == 3
    tasks.forget_old_exports.delay()
    work_off()
    assert (Export.objects.count(), ExportPart.objects.count()) == (1, 3)

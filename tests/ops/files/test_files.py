"""Files on the staff pages: looked at before they are taken, followed, and given out."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client as HttpClient
from django.utils.translation import override

from celery_ledger.testing import work_off
from ops.models import StaffAction
from orders.imports import tasks
from orders.models import Client, Export, Import, Order
from tests.ops.browsing import log_in, text
from tests.ops.files.uploads import NEW, hidden
from tests.postgres.plans import plans_of

pytestmark = pytest.mark.django_db(transaction=True)
BUFFERS_MAX, A_DAY = 1000, timedelta(days=1)
HEAD = "external_id,email,currency,sku,name,quantity,unit_price,token,total\n"


def row(name: str, sku: str = "SAKE-NIGIRI") -> str:
    return f"{name},hana@example.com,JPY,{sku},鮭,1,300,tok_ok,300\n"


def upload(shop: Client, content: str, name: str = "orders.csv", **more: str) -> dict[str, Any]:
    file = SimpleUploadedFile(name, content.encode())
    usual = {"client": str(shop.pk), "amounts": "minor", "encoding": "utf-8"}
    return {**usual, "file": file, **more}


def test_a_file_is_looked_at_then_taken_once(shop: Client, stock: Any, hana: HttpClient) -> None:
    stock()
    content = HEAD + row("鮭-1") + row("o-2", sku="NOTHING")
    page = hana.post(NEW, upload(shop, content, look="1")).content.decode()
    assert (Import.objects.count(), "What orders.csv would do" in page) == (0, True)
    assert "NOTHING" in page
    sealed = hidden(page)
    hana.post(NEW, upload(shop, content, look="1", **sealed))  # looking again takes nothing
    another = hana.post(NEW, upload(shop, HEAD + row("o-3"), **sealed)).content.decode()
    assert "this is not what you have looked at" in another
    assert Import.objects.count() == 0
    answers = [hana.post(NEW, upload(shop, content, **sealed)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [302, 302]
    assert answers[0]["Location"] == answers[1]["Location"]
    batch = Import.objects.get()
    assert StaffAction.objects.get().subject == f"import {batch.pk}"
    follow(hana, answers[0]["Location"])
    assert Order.objects.get().external_id == "鮭-1"


def follow(hana: HttpClient, where: str) -> None:
    """The page of an import of one good and one bad order, to its end."""
    page = text(hana, where)
    assert ("0 % are worked off." in page, 'hx-trigger="every 3s"' in page) == (True, True)
    assert "running" in text(hana, "/ops/files/")
    work_off(ahead=A_DAY)
    page = text(hana, where)
    assert ("All of it is worked off." in page, "hx-trigger" in page.split("<main")[1]) == (
        True,
        False,
    )
    rows = page.split("<tr>")
    [refused] = [each for each in rows if "<td>3</td>" in each]
    assert ("o-2" in refused, "no such sku: NOTHING" in refused) == (True, True)
    assert "<dt>confirmed</dt><dd>1</dd>" in page
    table: Any = hana.get(f"{where}errors.csv")
    assert b"3,o-2," in b"".join(table.streaming_content)


@pytest.mark.parametrize(
    ("name", "more", "field"),
    [
        ("orders.xlsx", {}, "file"),
        ("orders.ndjson", {"amounts": "major"}, "amounts"),
        ("orders.ndjson", {"encoding": "shift_jis"}, "encoding"),
        ("orders.csv", {"client": "nobody"}, "client"),
        ("orders.csv", {"encoding": "klingon"}, "encoding"),
    ],
)
def test_what_is_wrong_is_said_by_its_field(
    shop: Client, hana: HttpClient, name: str, more: dict[str, str], field: str
) -> None:
    answer = hana.post(NEW, upload(shop, HEAD, name, **more))
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, [field])


def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(
    shop: Client, hana: HttpClient
) -> None:
    for content, says in (("a,b\n1,2\n", "column"), ("PK\x03\x04", "workbook"), (HEAD, "no rows")):
        answer = hana.post(NEW, upload(shop, content))
        assert answer.status_code == 422, content
        assert says in answer.content.decode(), answer.content.decode()


def test_nobody_elses_file_reaches_the_disk(
    shop: Client, hana: HttpClient, django_user_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who they are is asked before the body is read, and the token after it."""

    def refuse(*args: Any) -> None:
        raise AssertionError("the body was read")

    log_in(django_user_model, "looker", "look")
    with monkeypatch.context() as watched:
        watched.setattr("ops.files.uploads.TemporaryFileUploadHandler", refuse)
        looker = HttpClient(enforce_csrf_checks=True)
        assert looker.post(NEW, upload(shop, HEAD)).status_code == 302
        looker.force_login(django_user_model.objects.get(username="looker"))
        assert looker.post(NEW, upload(shop, HEAD)).status_code == 403
    forged = HttpClient(enforce_csrf_checks=True)
    forged.force_login(django_user_model.objects.get(username="hana"))
    assert forged.post(NEW, upload(shop, HEAD + row("o-1"))).status_code == 403
    # and no other page takes one
    assert hana.post("/ops/stock/new/", {"sku": SimpleUploadedFile("a", b"b")}).status_code == 400


def test_a_file_may_be_as_large_as_the_apis_and_no_larger(
    shop: Client, hana: HttpClient, settings: Any
) -> None:
    limits = settings.BODY_MAX_BYTES_OF
    assert limits[NEW] == limits["/v1/imports"] > settings.BODY_MAX_BYTES
    settings.BODY_MAX_BYTES_OF = {NEW: 1000}
    assert hana.post(NEW, upload(shop, HEAD + row("o") * 100)).status_code == 413


def test_orders_are_exported_once_and_who_takes_a_file_is_written_down(
    placed: Order, shop: Client, hana: HttpClient, django_user_model: Any
) -> None:
    form_id = hana.get("/ops/files/exports/new/").context["form_id"]
    form = {"client": str(shop.pk), "format": "bom", "state": "confirmed", "form_id": form_id}
    form |= {"first": f"{placed.created_at:%Y-%m-%d}", "last": "2998-12-31"}
    answers = [hana.post("/ops/files/exports/new/", form) for _ in range(2)]
    where = answers[0]["Location"]
    assert (where, Export.objects.count()) == (answers[1]["Location"], 1)
    assert "0 orders are written so far." in text(hana, where)
    work_off()
    page = text(hana, where)
    assert ("1 order is written." in page, "every 3s" in page) == (True, False)
    assert placed.number in hana.get(f"{where}1/").content.decode()
    assert hana.get(f"{where}{10**20}/").status_code == 404
    verbs = list(StaffAction.objects.order_by("pk").values_list("verb", flat=True))
    assert verbs == ["export", "download"]
    looker = log_in(django_user_model, "looker", "look")
    assert f"{where}1/" not in text(looker, where)
    assert looker.get(f"{where}1/").status_code == 403
    for more in ({"first": "2026-12-02", "last": "2026-12-01"}, {"last": "0001-01-01"}):
        answer = hana.post("/ops/files/exports/new/", {**form, **more})
        assert list(answer.context["form"].errors) == ["last"], more


def test_japanese_staff_read_japanese(shop: Client, stock: Any, hana: HttpClient) -> None:
    stock()
    hana.cookies["django_language"] = "ja"
    looked = hana.post(NEW, upload(shop, HEAD + row("o-1") + row("o-2", "X"), look="1"))
    pages = {NEW: looked.content.decode()}
    where = hana.post(NEW, upload(shop, HEAD + row("o-1") + row("o-2", "X"), **hidden(pages[NEW])))[
        "Location"
    ]
    pages |= {path: text(hana, path) for path in ("/ops/files/", "/ops/files/exports/new/", where)}
    for path, page in pages.items():
        for english in ("Orders", "Import", "Export", "Would", "Client", "State", "worked", "Why"):
            assert english not in page.split("<main")[1], (path, english)


def test_no_page_of_a_large_import_looks_at_more_than_its_share(
    placed: Order, shop: Client, hana: HttpClient
) -> None:
    batch = Import.objects.create(client=shop, form="csv", rows=60_000, total=60_000, ok=30_000)
    Import.objects.filter(pk=batch.pk).update(failed=30_000)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO orders_importfault (batch_id, line, external_id, field, reason)"
            " SELECT %s, n, 'o-' || n, '/total', 'is missing' FROM generate_series(1, 30000) AS n",
            [batch.pk],
        )
        cursor.execute(
            "INSERT INTO orders_importorder (batch_id, order_id, line, external_id)"
            " SELECT %s, %s, n, 'p-' || n FROM generate_series(30001, 60000) AS n",
            [batch.pk, placed.pk],
        )
        cursor.execute("VACUUM ANALYZE orders_importfault, orders_importorder")
    where = f"/ops/files/imports/{batch.pk}/"
    for path in ("/ops/files/", where, f"{where}?after=29000-1"):
        with override("en"):
            plans = plans_of(lambda path=path: hana.get(path))  # type: ignore[misc]
        assert sum(plan.buffers for plan in plans) < BUFFERS_MAX, path
    assert "<dd>100 or more</dd>" in became(hana, where)
    assert "Of the first 100 by their lines. All 60000 are counted" in became(hana, where)


def became(hana: HttpClient, where: str) -> str:
    return text(hana, where).split("What became")[1].split("Refused, by lines")[0]


def test_what_became_of_a_large_import_is_what_was_counted_or_as_of_when(
    shop: Client, stock: Any, hana: HttpClient, settings: Any
) -> None:
    settings.IMPORT_COUNTED_ORDERS = 1
    stock()
    content = HEAD + row("o-1") + row("o-2") + row("o-3")
    sealed = hidden(hana.post(NEW, upload(shop, content, look="1")).content.decode())
    where = hana.post(NEW, upload(shop, content, **sealed))["Location"]
    work_off(ahead=A_DAY)
    assert "<dd>1 or more</dd>" in became(hana, where)
    tasks.count_imports.delay()
    work_off()
    assert ("<dd>3</dd>" in became(hana, where), "As of" in became(hana, where)) == (True, False)
    with transaction.atomic():
        Order.objects.locked(Order.objects.earliest("pk").pk).hold("why")
    assert ("<dd>3</dd>" in became(hana, where), "As of 2" in became(hana, where)) == (True, True)
    hana.cookies["django_language"] = "ja"
    assert "現在の数です。" in text(hana, where)
    Import.objects.update(ways=None)
    assert "<dd>1 以上</dd>" in text(hana, where)

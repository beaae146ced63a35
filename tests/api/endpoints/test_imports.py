"""/v1/imports, over Django's own HTTP client and the whole middleware; the ledger is worked off in
this process.
"""

import csv
import errno
import io
import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.operations import interventions
from celery_ledger.testing import attempt, work_off
from celery_ledger.worker.clock import Clock
from config import celery_app
from notifications.models import Event
from orders.imports import tasks
from orders.imports.became import ImportOrder
from orders.imports.files import reading
from orders.imports.files.csv_rows import Amounts
from orders.imports.files.lines import Row
from orders.imports.files.reading import Format, Manner, staged
from orders.imports.models import Import, ImportFault
from orders.imports.rows import ImportRow
from orders.imports.taking import Places
from orders.inputs.order import EXAMPLE, OrderInput
from orders.models import ApiKey, Client, IdempotencyKey, Order, Stock
from orders.tasks import place
from tests.celery_ledger.errors import error_of
from tests.orders.imports.files import as_csv, as_ndjson, cells, faults
from tests.postgres.hands import Hand
from tests.postgres.plans import plans_of
from tests.shop import Api, post
from values.refused import Refused

pytestmark = pytest.mark.django_db(transaction=True)
Body = Callable[..., dict[str, Any]]
A_DAY = timedelta(days=1)
NDJSON = "application/x-ndjson"

Send = Callable[..., Any]


@pytest.fixture
def send(api: Api) -> Send:
    """POST the file; returns the answer."""

    def post(
        file: bytes,
        *,
        media_type: str = "text/csv",
        key: str = "import-1",
        query: str = "",
        **headers: str,
    ) -> Any:
        named = {
            "Idempotency-Key": key,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        path = f"/v1/imports{query}"
        return api.post(path, file, media_type, headers=named, CONTENT_TYPE=media_type)

    return post


def assert_nothing_accepted(answer: Any, status: int, *, says: str) -> None:
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json"), (
        answer.content
    )
    problem = answer.json()
    assert says in problem["detail"], problem
    assert not problem["detail"].startswith(":"), problem
    rows = [model.objects.count() for model in (Import, ImportRow, Order, Job, IdempotencyKey)]
    assert rows == [0] * 5


def test_a_csv_is_accepted_and_worked_off(send: Send, api: Api, stock: Any) -> None:
    stock()
    answer = send(as_csv([cells(external_id=f"o-{index}") for index in range(3)]))
    assert answer.status_code == 202
    batch = answer.json()
    assert answer["Location"] == f"/v1/imports/{batch['id']}"
    counts = {"state": "running", "total": 3, "ok": 0, "failed": 0, "percent": 0}
    assert {name: batch[name] for name in counts} == counts
    work_off(ahead=A_DAY)
    batch = api.get(answer["Location"]).json()
    assert {name: batch[name] for name in counts} == {
        "state": "done",
        "total": 3,
        "ok": 3,
        "failed": 0,
        "percent": 100,
    }
    orders = Order.objects.order_by("external_id")
    assert [order.external_id for order in orders] == ["o-0", "o-1", "o-2"]
    assert (
        orders.filter(
            state="confirmed", captured=660, email="hana@example.com", locale="ja"
        ).count()
        == 3
    )
    assert ImportRow.objects.count() == 0


def test_ndjson_is_one_order_body_per_line(send: Send, stock: Any, order_body: Body) -> None:
    stock()
    bodies = [order_body(external_id="o-1"), order_body(external_id="o-2", metadata={"table": "8"})]
    assert send(as_ndjson(bodies), media_type=f"{NDJSON}; charset=UTF-8").status_code == 202
    work_off(ahead=A_DAY)
    assert list(Order.objects.order_by("external_id").values_list("external_id", "metadata")) == [
        ("o-1", {"table": "7"}),
        ("o-2", {"table": "8"}),
    ]


def test_rows_of_one_external_id_are_the_lines_of_one_order_wherever_they_stand(
    send: Send, stock: Any, settings: Any
) -> None:
    """Also when they stand in different chunks; the order comes where its first row stands."""
    settings.IMPORT_CHUNK_ROWS = 2
    stock()
    stock("EBI-NIGIRI", name="海老")
    rows = [cells(external_id=name, total="1320") for name in ("a", "b", "c")]
    rows += [
        cells(external_id=name, total="1320", sku="EBI-NIGIRI", name="") for name in ("c", "b", "a")
    ]
    assert send(as_csv(rows)).json()["total"] == 3
    work_off(ahead=A_DAY)
    orders = Order.objects.order_by("created_at", "pk").prefetch_related("lines")
    assert [(order.external_id, [line.name for line in order.lines.all()]) for order in orders] == [
        (name, ["鮭", "海老"]) for name in ("a", "b", "c")
    ]
    assert (Import.objects.get().ok, faults()) == (3, [])


BAD_ROWS = [
    cells(external_id="o-1", name="two\nlines"),
    cells(external_id="o-2", quantity="two"),
    cells(external_id="o-3", total="661"),
    cells(external_id="o-4", total="1320"),
    cells(external_id="o-4", total="1321", email="taro@example.com"),
    cells(external_id="o-5", sku="NO-SUCH"),
    cells(external_id=""),
    cells(external_id="=1+1", quantity="0"),
    cells(external_id="o-6", total="1320"),
    cells(external_id="o-6", total="1320", discount="-1"),
    cells(external_id="o-7", locale="Japanese", name="x" * 201, currency="YEN", token=""),
    cells(external_id="x" * 201),
    cells(external_id="o-9", name="nul\x00"),
]
THEIR_ERRORS = [
    ["2", "o-1", "name"],
    ["4", "o-2", "quantity"],
    ["5", "o-3", "total"],
    ["7", "o-4", "email"],
    ["7", "o-4", "total"],
    ["8", "o-5", "sku"],
    ["9", "", "external_id"],
    ["10", "'=1+1", "quantity"],
    ["12", "o-6", "discount"],
    ["13", "o-7", "currency"],
    ["13", "o-7", "name"],
    ["13", "o-7", "token"],
    ["14", "", "external_id"],
    ["15", "o-9", "name"],
]


def test_a_bad_row_spoils_no_other(send: Send, api: Api, stock: Any) -> None:
    stock()
    location = send(as_csv([*BAD_ROWS, cells(external_id="o-10")]))["Location"]
    work_off(ahead=A_DAY)
    assert set(Order.objects.values_list("external_id", flat=True)) == {"o-10"}
    batch = api.get(location).json()
    assert (batch["state"], batch["total"], batch["ok"], batch["failed"]) == ("done", 12, 1, 11)


def test_a_bad_row_is_an_error_on_its_line(send: Send, api: Api, stock: Any) -> None:
    stock()
    location = send(as_csv(BAD_ROWS))["Location"]
    work_off(ahead=A_DAY)
    answer = api.get(f"{location}/errors.csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    head, *errors = csv.reader(io.StringIO(answer.getvalue().decode(), newline=""))
    assert head[:3] == ["line", "external_id", "field"]
    assert [error[:3] for error in errors] == THEIR_ERRORS
    reasons = [error[3] for error in errors]
    assert reasons[0] == "must not hold line breaks or other control characters"
    assert reasons[1] == "must be a whole number"
    assert reasons[2] == "is 661, but the lines and the shipping add up to 660"
    assert reasons[3] == "is not what line 6 says of the same order"
    assert reasons[5] == "no such sku: NO-SUCH"


@pytest.mark.parametrize(
    "gift", ["Gift, wrapped", '"Gift'], ids=["a comma too many", "a quote that never closes"]
)
def test_an_order_of_which_a_row_cannot_be_read_is_not_placed_without_that_row(
    send: Send, api: Api, stock: Any, gift: str
) -> None:
    """A gift costs nothing, so the total does not tell that it is missing."""
    stock()
    spoilt = f"o-1,JPY,hana@example.com,ja,SAKE-NIGIRI,{gift},1,0,,,660,tok_ok\n".encode()
    location = send(
        as_csv([cells()]) + spoilt + as_csv([cells(external_id="o-2")]).partition(b"\n")[2]
    )["Location"]
    work_off(ahead=A_DAY)
    assert [order.external_id for order in Order.objects.all()] == ["o-2"]
    assert [fault[:2] for fault in faults()] == [(3, "o-1")]
    batch = api.get(location).json()
    assert (batch["total"], batch["ok"], batch["failed"]) == (2, 1, 1)
    send(
        as_csv([cells(), cells(name="Gift, wrapped", quantity="1", unit_price="0", tax="")]),
        key="mended",
    )
    work_off(ahead=A_DAY)
    assert sorted(order.lines.count() for order in Order.objects.all()) == [1, 2]


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (b"{", "", "is not JSON"),
        (b"[1]", "", "must be an object with named fields"),
        (b'{"total": NaN}', "/total", "NaN"),
        (b'{"total": 1, "total": 2}', "/total", "twice"),
        (b'{"email": "\\u0000"}', "/email", "NUL"),
        (b'{"email": "\x00"}', "", "NUL"),
        (b'{"email": "\\ud800"}', "/email", "surrogate"),
        (b"[" * 10_000, "", "deep"),
        (b'{"a":"' + b"x" * 200_000 + b'"}', "", "longer than 131072 bytes"),
    ],
)
def test_a_line_that_is_no_order_is_an_error_on_that_line(
    send: Send, stock: Any, order_body: Body, row: bytes, field: str, reason: str
) -> None:
    stock()
    file = (
        as_ndjson([order_body(external_id="before")])
        + row
        + b"\r\n\n"
        + as_ndjson([order_body(external_id="after")])
    )
    send(file, media_type=NDJSON)
    work_off(ahead=A_DAY)
    assert set(Order.objects.values_list("external_id", flat=True)) == {"before", "after"}
    found = [fault for fault in faults() if fault[2] == field]
    assert found, faults()
    assert (found[0][0], reason in found[0][3]) == (2, True), faults()


def test_an_external_id_that_no_index_could_hold_is_an_error_on_its_line(
    send: Send, stock: Any
) -> None:
    stock()
    endless = random.Random(7).randbytes(20_000).hex()
    assert send(as_csv([cells(), cells(external_id=endless)])).status_code == 202
    work_off(ahead=A_DAY)
    assert [fault[:3] for fault in faults()] == [(3, "", "external_id")]
    assert Order.objects.count() == 1


def test_a_blank_or_broken_text_is_an_error_in_its_column(send: Send, stock: Any) -> None:
    """As the order API refuses it: both validate the same shape."""
    stock()
    send(as_csv([cells(), cells(external_id=" "), cells(external_id="o-3", name="a\tb")]))
    work_off(ahead=A_DAY)
    assert [(fault[0], fault[2]) for fault in faults()] == [(3, "external_id"), (4, "name")]
    assert Order.objects.count() == 1


def test_an_order_of_too_many_lines_is_refused_before_they_are_parsed(
    send: Send, stock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may be one order of 100,000 lines: all of it in memory is more than a dyno has."""
    stock()
    parsed: list[bytes] = []
    monkeypatch.setattr("orders.imports.inputs.strict_json.parse", parsed.append)
    send(as_csv([cells(sku=f"S-{index}") for index in range(201)]))
    work_off(ahead=A_DAY)
    assert faults() == [(2, "o-1", "", "has 201 lines; an order may have 200")]
    assert parsed == []


def test_ndjson_errors_carry_json_pointers(send: Send, stock: Any, order_body: Body) -> None:
    stock()
    sake = {"sku": "SAKE-NIGIRI", "quantity": 0, "unit_price": 330}
    unknown_sku = order_body(external_id="o-2", lines=[{**sake, "quantity": 2, "sku": "X"}])
    bodies = [order_body(external_id=...), order_body(external_id="o-1", lines=[sake]), unknown_sku]
    send(as_ndjson(bodies) + b'["o-4"]\n{"external_id": "o-5"', media_type=NDJSON)
    work_off(ahead=A_DAY)
    assert [fault[:3] for fault in faults()] == [
        (1, "", "/external_id"),
        (2, "o-1", "/lines/0/quantity"),
        (3, "o-2", "/lines/0/sku"),
        (4, "", ""),
        (5, "", ""),
    ]


def test_the_same_file_twice_changes_nothing(send: Send, stock: Any) -> None:
    stock()
    file = as_csv(
        [cells(external_id=f"o-{index}", name="" if index else "鮭") for index in range(5)]
    )
    send(file)
    work_off(ahead=A_DAY)
    before = list(Order.objects.order_by("pk").values())
    assert send(file, key="import-2").status_code == 202
    work_off(ahead=A_DAY)
    assert list(Order.objects.order_by("pk").values()) == before
    assert list(Import.objects.values_list("ok", "failed")) == [(5, 0), (5, 0)]


@pytest.mark.parametrize(
    "other",
    [
        {"quantity": "1", "total": "360"},
        {"unit_price": "330", "tax": "0"},
        {"email": "taro@example.com"},
        {"token": "tok_declined"},
        {"name": "まぐろ"},
    ],
)
def test_another_order_under_a_known_external_id_is_an_error(
    send: Send, stock: Any, other: dict[str, str]
) -> None:
    stock()
    send(as_csv([cells()]))
    work_off(ahead=A_DAY)
    before = Order.objects.values().get()
    send(as_csv([cells(**other)]), key="import-2")
    work_off(ahead=A_DAY)
    assert Order.objects.values().get() == before
    again = Import.objects.order_by("-created_at")[0]
    assert (again.ok, again.failed) == (0, 1)
    assert faults(again) == [(2, "o-1", "external_id", "belongs to an earlier, other order")]


def test_another_locale_makes_no_other_order(send: Send, stock: Any) -> None:
    stock()
    send(as_csv([cells()]))
    work_off(ahead=A_DAY)
    send(as_csv([cells(locale="")]), key="import-2")
    work_off(ahead=A_DAY)
    assert list(Import.objects.values_list("ok", "failed")) == [(1, 0), (1, 0)]
    assert Order.objects.count() == 1


def test_two_equal_bodies_in_one_file_are_one_order(
    send: Send, stock: Any, order_body: Body
) -> None:
    stock()
    send(as_ndjson([order_body(), order_body(), order_body(metadata={})]), media_type=NDJSON)
    work_off(ahead=A_DAY)
    assert (Order.objects.count(), Import.objects.get().ok, Import.objects.get().failed) == (
        1,
        2,
        1,
    )


# --- what its amounts count -----------------------------------------------------------------------


def test_an_amount_with_decimals_takes_nothing_and_major_units_are_read_by_choice(
    send: Send, api: Api, stock: Any
) -> None:
    stock()
    dollars = {"currency": "USD", "quantity": "1", "tax": ""}
    rows = [
        cells(external_id="o-1", unit_price="12.50", total="12.50", **dollars),
        cells(external_id="o-2", unit_price="12", total="12", **dollars),
    ]
    for file in (as_csv(rows), as_csv(rows[::-1])):
        assert_nothing_accepted(send(file), 422, says=", unit_price: 12.50 is no whole number")
    assert send(as_csv(rows), query="?amounts=major").status_code == 202
    work_off(ahead=A_DAY)
    totals = dict(Order.objects.values_list("external_id", "captured"))
    assert totals == {"o-1": 1250, "o-2": 1200}


def test_a_worker_of_the_release_before_takes_no_major_units_for_minor_ones(shop: Client) -> None:
    """It knows nothing of them: what it reads in a staged row must be no number to it."""
    file = io.BytesIO(as_csv([cells()]))
    with staged(file, Manner(Format.CSV, Amounts.MAJOR)) as rows:
        [row] = rows
    cell_of = json.loads(row.text)
    assert (cell_of["unit_price"], cell_of["total"]) == ("300 major", "660 major")


def test_the_same_file_counted_otherwise_is_another_request(send: Send) -> None:
    file = as_csv([cells()])
    assert send(file).status_code == send(file).status_code == 202
    for query in ("?amounts=major", "?encoding=windows-1252"):
        assert send(file, query=query).json()["type"] == "/problems/idempotency-key-reused"
    assert Import.objects.count() == 1


@pytest.mark.parametrize("query", ["?amounts=major", "?encoding=shift_jis"])
def test_json_lines_are_what_they_are(send: Send, order_body: Body, query: str) -> None:
    answer = send(as_ndjson([order_body()]), media_type=NDJSON, query=query)
    assert_nothing_accepted(answer, 422, says="is for CSV")


@pytest.mark.parametrize(
    ("media_type", "query"),
    [
        ("text/csv; charset=Shift_JIS", ""),
        ("text/csv; charset=windows-31j", ""),
        ("text/csv; charset=windows-31j", "?amounts=minor"),
        ("text/csv; charset=utf-16", "?amounts=minor"),
        ("text/csv", "?encoding=shift_jis"),
        ("text/csv; charset=utf-8", "?encoding=shift_jis"),
    ],
)
def test_a_file_may_be_in_the_encoding_that_its_sender_says(
    api: Api, stock: Any, media_type: str, query: str
) -> None:
    stock()
    codec = "utf-16" if "utf-16" in media_type else "cp932"
    file = as_csv([cells(name="湯のみ")]).decode().encode(codec)
    headers = {"Idempotency-Key": "import-1"}
    answer = api.generic("POST", f"/v1/imports{query}", file, media_type, headers=headers)
    assert answer.status_code == 202, answer.content
    work_off(ahead=A_DAY)
    assert Order.objects.get().lines.get().name == "湯のみ"


# --- dry runs -------------------------------------------------------------------------------------


def test_a_dry_run_tells_what_an_import_would_refuse_and_writes_nothing(
    send: Send, api: Api, stock: Any, settings: Any
) -> None:
    stock()
    settings.IMPORT_TRIAL_BATCH = 2
    earlier = [cells(external_id="known"), cells(external_id="unmet", token="tok_declined")]
    send(as_csv(earlier), key="before")
    work_off(ahead=A_DAY)
    tables = (Import, ImportRow, ImportFault, ImportOrder, Order, Job, IdempotencyKey, Event, Stock)
    before = [list(table.objects.order_by("pk").values()) for table in tables]
    rows = [
        cells(external_id="o-1"),
        cells(external_id="o-2", quantity="two"),
        cells(external_id="known"),
        cells(external_id="o-3", sku="NO-SUCH"),
        cells(external_id="o-4", total="1320"),
        cells(external_id="known", total="1", quantity="1"),
        cells(external_id="unmet"),
        cells(external_id="o-4", total="1320", name="海老"),
        cells(external_id="taken ", total="1"),
    ]
    rows[5] = cells(external_id="o-5", email="nobody")
    answer = send(as_csv(rows), query="?dry_run=true")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["dry_run"], found["total"], found["ok"], found["failed"]) == (True, 8, 4, 4)
    assert [(error["line"], error["external_id"], error["field"]) for error in found["errors"]] == [
        (3, "o-2", "quantity"),
        (5, "o-3", "sku"),
        (7, "o-5", "email"),
        (10, "taken", "total"),
    ]
    assert found["errors"][1]["reason"] == "no such sku: NO-SUCH"
    assert before == [list(table.objects.order_by("pk").values()) for table in tables]
    location = send(as_csv(rows))["Location"]  # under the same key
    work_off(ahead=A_DAY)
    assert api.get(location).json()["became"]["refused"] == found["failed"]
    assert [fault[:3] for fault in faults(Import.objects.latest("pk"))] == [
        (error["line"], error["external_id"], error["field"]) for error in found["errors"]
    ]


def test_a_dry_run_of_json_lines_sees_a_name_that_is_used_twice(
    send: Send, stock: Any, order_body: Body
) -> None:
    stock()
    bodies = [order_body(), order_body(), order_body(email="other@example.com"), {"total": 1}]
    found = send(as_ndjson(bodies), media_type=NDJSON, query="?dry_run=true").json()
    assert (found["total"], found["ok"], found["failed"]) == (4, 2, 2)
    first = found["errors"][0]
    assert (first["line"], first["field"]) == (3, "/external_id")
    assert first["reason"] == "belongs to an earlier, other order"


def test_a_dry_run_tells_so_many_faults_and_counts_the_others(send: Send, settings: Any) -> None:
    settings.IMPORT_TRIAL_FAULTS_MAX = 3
    rows = [cells(external_id=f"o-{index}", quantity="x", total="x") for index in range(4)]
    found = send(as_csv(rows), query="?dry_run=true").json()
    assert (found["failed"], len(found["errors"]), found["errors_left_out"]) == (4, 3, 5)


def test_a_dry_run_knows_no_other_client(send: Send, stock: Any) -> None:
    stock()
    stranger = Client.objects.create(name="stranger")
    with transaction.atomic():
        place(stranger, OrderInput.model_validate({**EXAMPLE, "external_id": "o-1"}))
    assert send(as_csv([cells()]), query="?dry_run=true").json()["ok"] == 1


# --- at the door ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "text/plain", "text/csv; charset=big5", "multipart/form-data"],
)
def test_another_media_type_is_refused(send: Send, media_type: str) -> None:
    assert_nothing_accepted(send(as_csv([cells()]), media_type=media_type), 415, says="text/csv")


def test_a_compressed_file_is_refused(send: Send) -> None:
    assert_nothing_accepted(
        send(as_csv([cells()]), Content_Encoding="gzip"), 415, says="Content-Encoding"
    )


def test_a_file_over_the_limit_is_refused(send: Send, settings: Any) -> None:
    settings.BODY_MAX_BYTES_OF = {"/v1/imports": 100}
    assert_nothing_accepted(send(as_csv([cells()])), 413, says="100 bytes")


def test_an_import_may_be_larger_than_any_other_body(send: Send, stock: Any) -> None:
    file = as_csv([cells(external_id=f"o-{index}", name="x" * 150) for index in range(6000)])
    assert len(file) > 1024 * 1024
    assert send(file).status_code == 202
    assert (
        ImportRow.objects.count(),
        Job.objects.filter(task="orders.imports.tasks.place_chunk").count(),
    ) == (6000, 30)


def test_a_file_of_too_many_rows_is_refused(send: Send, settings: Any) -> None:
    settings.IMPORT_MAX_ROWS, settings.IMPORT_STAGE_BATCH = 5, 2
    assert_nothing_accepted(send(as_csv([cells()] * 6)), 422, says="more than 5 rows")
    assert send(as_csv([cells()] * 5), key="import-2").status_code == 202


@pytest.mark.parametrize("media_type", ["text/csv", NDJSON])
def test_a_file_of_line_breaks_is_refused_by_their_number(send: Send, media_type: str) -> None:
    """20 MiB of them held a thread for minutes, and a transaction, and then were a 500."""
    header = as_csv([]) if media_type == "text/csv" else b""
    assert_nothing_accepted(
        send(header + b"\n" * 20_000_000, media_type=media_type),
        422,
        says="more than 200000 lines, empty ones included",
    )


def test_a_header_of_very_many_columns_is_refused_by_their_number(send: Send) -> None:
    assert_nothing_accepted(
        send(b",".join([b"a"] * 32_000) + b"\n"), 422, says="the header names 32000 columns"
    )


def test_the_file_is_read_before_the_transaction_begins(
    send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    real = reading.rows_of

    def watched(*args: Any) -> Any:
        for row in real(*args):
            seen.append(connection.in_atomic_block)
            yield row

    monkeypatch.setattr(reading, "rows_of", watched)
    assert send(as_csv([cells(), cells(external_id="o-2")])).status_code == 202
    assert seen == [False, False]


def test_a_client_may_run_so_many_imports_at_a_time(send: Send, settings: Any) -> None:
    settings.IMPORTS_RUNNING_PER_CLIENT = 2
    for key in ("a", "b"):
        assert send(as_csv([cells(external_id=key)]), key=key).status_code == 202
    refused = send(as_csv([cells(external_id="c")]), key="c")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/too-many-imports")
    work_off(ahead=A_DAY)
    assert send(as_csv([cells(external_id="c")]), key="c").status_code == 202


def test_a_client_has_one_file_read_at_a_time_and_all_together_a_few(
    send: Send, shop: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(1)
    monkeypatch.setattr("orders.imports.taking._reading", places)
    for whose, status, kind in ((shop.pk, 409, "too-many-imports"), (uuid4(), 503, "unavailable")):
        with places.place_for(whose):
            refused = send(as_csv([cells()]))
        assert (refused.status_code, refused.json()["type"]) == (status, f"/problems/{kind}")
        assert refused["Retry-After"] == "5"
    assert send(as_csv([cells()])).status_code == 202


def test_two_that_come_at_once_are_not_both_the_last_that_may(shop: Client, settings: Any) -> None:
    settings.IMPORTS_RUNNING_PER_CLIENT = 1

    def accept() -> Import:
        return Import.objects.accept(shop, [Row(1, text="{}")], Manner(Format.NDJSON))

    with Hand() as first, Hand() as second:
        first.open_transaction()
        second.open_transaction()
        first.do(accept)
        waiting = second.begin(accept)
        second.wait_until_blocked()
        first.commit()
        with pytest.raises(Refused, match="imports of yours are running"):
            waiting.result(timeout=10)
        second.roll_back()
    assert Import.objects.count() == 1


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), FileNotFoundError("no folder")]
)
def test_a_full_disk_is_503_and_the_same_key_is_taken_afterwards(
    send: Send, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refuse(*args: Any, **named: Any) -> Any:
        raise error

    with monkeypatch.context() as full:
        full.setattr("api.endpoints.imports.TemporaryFile", refuse)
        refused = send(as_csv([cells()]))
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    assert refused.json()["type"] == "/problems/unavailable"
    assert send(as_csv([cells()])).status_code == 202


@pytest.mark.parametrize(
    ("file", "status", "says"),
    [
        (b"", 422, "the file is empty"),
        (b"\r\n\r\n", 422, "the file is empty"),
        (as_csv([]), 422, "no rows"),
        (
            as_csv([], columns=["external_id", "sku"]),
            422,
            "this column is missing: currency, email",
        ),
        (b"colour," + as_csv([cells()]), 422, "there is no such column: colour"),
        (b"sku," + as_csv([cells()]), 422, "this column stands there twice: sku"),
        (b";".join(b"a" for _ in range(9)) + b"\n", 422, "line 1 is no header"),
        ("東京\n".encode("shift_jis"), 400, "Line 1 is not UTF-8 at byte 0"),
        (as_csv([cells()]) + b"o-1,\xff\n", 400, "Line 3 is not UTF-8 at byte 4"),
        (b"\xff\xfea\x00\n\x00\x00\xd8", 400, "Line 2 is not utf-16-le"),
        (b'"external_id\n' + as_csv([cells()]), 422, "header on line 1 cannot be read"),
        (b"x" * 200_000, 422, "header on line 1 cannot be read"),
    ],
)
def test_a_file_that_is_no_import_is_refused_as_a_whole(
    send: Send, file: bytes, status: int, says: str
) -> None:
    assert_nothing_accepted(send(file), status, says=says)


def test_an_import_needs_a_key_and_a_scope(send: Send, api: Api, shop: Client) -> None:
    assert_nothing_accepted(send(as_csv([cells()]), key=""), 400, says="Idempotency-Key")
    may_not = Api(ApiKey.objects.issue(shop, ["orders:write"]))
    refused = may_not.post(
        "/v1/imports", as_csv([cells()]), content_type="text/csv", headers={"Idempotency-Key": "k"}
    )
    assert_nothing_accepted(refused, 403, says="imports:write")
    for path in ("", "/errors.csv"):
        assert may_not.get(f"/v1/imports/{uuid4()}{path}").status_code == 403
        assert api.get(f"/v1/imports/{uuid4()}{path}").status_code == 404


def test_a_repeated_request_is_one_import(send: Send, stock: Any) -> None:
    file = as_csv([cells()])
    first, again = send(file), send(file)
    assert (again.status_code, again["Idempotent-Replayed"], again["Location"]) == (
        202,
        "true",
        first["Location"],
    )
    assert again.content == first.content
    assert send(as_csv([cells(total="1")])).status_code == 422
    assert (Import.objects.count(), ImportRow.objects.count()) == (1, 1)


def ways(**counts: int) -> dict[str, int]:
    none = dict.fromkeys(
        "confirmed under_way held cancelled sold_out declined expired refused".split(), 0
    )
    return none | counts


def test_an_import_counts_its_orders_by_what_became_of_them(
    send: Send, api: Api, stock: Any
) -> None:
    stock()
    stock("EBI", 0, "海老")
    rows = [
        cells(external_id="there"),
        cells(external_id="short", sku="EBI"),
        cells(external_id="poor", token="tok_declined"),
        cells(external_id="wrong", total="1"),
    ]
    for key in ("first", "again"):  # also when all of them are known
        location = send(as_csv(rows), key=key)["Location"]
        work_off(ahead=A_DAY)
        batch = api.get(location).json()
        assert (batch["total"], batch["ok"], batch["failed"], batch["percent"]) == (4, 1, 3, 100)
        assert batch["became"] == ways(confirmed=1, sold_out=1, declined=1, refused=1)
        file = io.StringIO(api.get(f"{location}/errors.csv").getvalue().decode(), newline="")
        assert [row[:3] for row in csv.reader(file)][1:] == [
            ["3", "short", ""],
            ["4", "poor", ""],
            ["5", "wrong", "total"],
        ]


def test_what_is_not_decided_yet_is_called_so(send: Send, api: Api, stock: Any) -> None:
    stock()
    location = send(as_csv([cells(), cells(external_id="o-2")]))["Location"]
    attempt(Job.objects.get(task="orders.imports.tasks.place_chunk"))
    Order.objects.filter(external_id="o-2").update(held=True)
    batch = api.get(location).json()
    assert (batch["ok"], batch["failed"], batch["became"]) == (2, 0, ways(under_way=1, held=1))


def test_a_row_that_was_sold_out_or_declined_can_be_imported_again(
    send: Send, api: Api, stock: Any
) -> None:
    stock()
    stock("EBI", 0, "海老")
    short, poor = cells(external_id="short", sku="EBI"), cells(external_id="poor")
    first = send(as_csv([short, {**poor, "token": "tok_declined"}]), key="first")["Location"]
    work_off(ahead=A_DAY)
    unmet = {order.external_id: order for order in Order.objects.all()}
    stock("EBI", 10)
    again = send(as_csv([short, poor]), key="again")["Location"]
    work_off(ahead=A_DAY)
    assert api.get(again).json()["became"] == ways(confirmed=2)
    assert api.get(first).json()["became"] == ways(sold_out=1, declined=1)
    for name, old in unmet.items():
        assert name
        new = api.get(f"/v1/orders/by-external/{name}").json()
        replaced = api.get(f"/v1/orders/{old.pk}").json()
        assert (new["state"], new["id"] != replaced["id"]) == ("confirmed", True)
        assert (replaced["state"], replaced["external_id"]) == ("cancelled", None)
        kinds = [event["type"] for event in api.get(f"/v1/orders/{old.pk}/events").json()["data"]]
        assert kinds[-2:] == ["order.cancelled", "order.replaced"]
    assert Order.objects.count() == 4
    send(as_csv([short, poor]), key="third")
    work_off(ahead=A_DAY)
    assert Order.objects.count() == 4


def test_an_order_that_was_paid_with_another_card_meanwhile_is_what_its_row_says(
    send: Send, api: Api, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock()
    row = order_body(payment={"token": "tok_declined", "attempts": 2})
    send(as_ndjson([row]), key="first", media_type=NDJSON)
    work_off(ahead=A_DAY)
    path = api.get("/v1/orders/by-external/shop-1042").json()["links"]["self"]
    assert post(api, f"{path}/payments", {"token": "tok_ok"}).status_code == 202
    work_off()
    other = order_body(payment={"token": "tok_slow", "attempts": 2})
    again = send(as_ndjson([row, other]), key="again", media_type=NDJSON)
    work_off(ahead=A_DAY)
    assert api.get(again["Location"]).json()["became"] == ways(confirmed=1, refused=1)
    assert Order.objects.count() == 1


@pytest.mark.parametrize("change", [{"captured": 660}, {"reason": "requested"}])
def test_an_order_that_somebody_has_had_makes_way_for_none(
    send: Send, api: Api, stock: Any, change: dict[str, Any]
) -> None:
    """Its money came after all, or a person cancelled it."""
    stock()
    send(as_csv([cells(token="tok_declined")]), key="first")
    work_off(ahead=A_DAY)
    Order.objects.update(**change)
    again = send(as_csv([cells()]), key="again")["Location"]
    work_off(ahead=A_DAY)
    assert Order.objects.get().external_id == "o-1"
    assert api.get(again).json()["became"] == ways(refused=1)
    again = send(as_csv([cells(token="tok_declined")]), key="third")["Location"]
    work_off(ahead=A_DAY)
    assert (Order.objects.count(), api.get(again).json()["became"]["refused"]) == (1, 0)


def test_money_that_comes_while_a_row_is_imported_again_keeps_its_order(
    send: Send, stock: Any, one: Hand, two: Hand
) -> None:
    """A charge that was declined and succeeds after all holds the order's lock just then."""
    stock()
    send(as_csv([cells(token="tok_declined")]), key="first")
    work_off(ahead=A_DAY)
    send(as_csv([cells()]), key="again")
    chunk = Job.objects.get(task="orders.imports.tasks.place_chunk", state="waiting")
    one.open_transaction()
    one.do(lambda: Order.objects.update(captured=660))
    importing = two.begin(lambda: attempt(chunk))
    two.wait_until_blocked()
    one.commit()
    importing.result(timeout=20)
    assert Order.objects.get().external_id == "o-1"
    assert [fault[3] for fault in faults(Import.objects.latest("pk"))] == [
        "belongs to an earlier, other order"
    ]


def test_another_clients_import_is_not_there(send: Send, stock: Any) -> None:
    location = send(as_csv([cells()]))["Location"]
    other = Api(ApiKey.objects.issue(Client.objects.create(name="other"), []))
    assert other.get(location).status_code == other.get(f"{location}/errors.csv").status_code == 404


# --- its work -------------------------------------------------------------------------------------


def test_all_that_follows_from_an_import_is_in_the_bulk_queue_and_in_the_clients_name(
    send: Send, api: Api, shop: Client, stock: Any, order_body: Body
) -> None:
    stock()
    send(as_csv([cells(token="tok_webhook_twice"), cells(external_id="o-2", token="tok_declined")]))
    work_off(ahead=A_DAY)
    imported = Job.objects.all()
    assert len(set(imported.values_list("task", flat=True))) >= 6
    assert set(imported.values_list("queue", flat=True)) == {"bulk"}
    assert set(imported.values_list("owner", flat=True)) == {str(shop.pk)}
    before = set(imported.values_list("pk", flat=True))
    api.place(order_body(external_id="interactive"))
    work_off(ahead=A_DAY)
    assert set(Job.objects.exclude(pk__in=before).values_list("queue", flat=True)) == {
        "kaiten",
        "payments",
        "mails",
    }


def test_chunks_come_one_after_another_in_the_order_of_the_file(
    send: Send, stock: Any, settings: Any
) -> None:
    """The last piece goes to the first who asked."""
    settings.IMPORT_CHUNK_ROWS = 2
    stock(on_hand=2)
    send(as_csv([cells(external_id=f"o-{index}") for index in range(6)]))
    chunks = list(Job.objects.filter(task="orders.imports.tasks.place_chunk").order_by("due_at"))
    for chunk, pause_s in reversed(list(zip(chunks[1:], (1, 2), strict=True))):
        Job.objects.filter(pk=chunk.pk).update(due_at=timezone.now())
        attempt(chunk)
        chunk.refresh_from_db()
        assert (Order.objects.count(), chunk.state, chunk.retries) == (0, "waiting", 1)
        assert (error_of(chunk)["type"], error_of(chunk)["message"]) == (
            "Retry",
            f"Retry in {pause_s}.0s",
        )
    work_off(ahead=A_DAY)
    assert list(Order.objects.filter(state="confirmed").values_list("external_id", flat=True)) == [
        "o-0"
    ]
    assert Order.objects.filter(reason="out_of_stock").count() == 5


def test_no_chunk_begins_while_a_long_line_of_bulk_work_waits(
    send: Send, stock: Any, settings: Any
) -> None:
    settings.IMPORT_CHUNK_ROWS, settings.IMPORT_BACKLOG_MAX = 2, 3
    stock()
    send(as_csv([cells(external_id=f"o-{index}") for index in range(4)]))
    first, second = Job.objects.filter(task="orders.imports.tasks.place_chunk").order_by("due_at")
    attempt(first)
    assert Order.objects.count() == 2
    Job.objects.filter(pk=second.pk).update(due_at=timezone.now())
    attempt(second)
    second.refresh_from_db()
    assert (Order.objects.count(), second.state, second.retries) == (2, "waiting", 1)
    work_off(ahead=A_DAY)
    assert (Order.objects.filter(state="confirmed").count(), Import.objects.get().state) == (
        4,
        "done",
    )


def test_one_chunk_works_at_a_time_of_whichever_import(send: Send, stock: Any) -> None:
    stock()
    send(as_csv([cells()]))
    chunk = Job.objects.get(task="orders.imports.tasks.place_chunk")
    with Hand() as other:
        other.open_transaction()
        assert other.do(Import.objects.take_turn)
        attempt(chunk)
        chunk.refresh_from_db()
        assert (chunk.state, chunk.retries, Order.objects.count()) == ("waiting", 1, 0)
        other.commit()
    work_off(ahead=A_DAY)
    assert Order.objects.count() == 1


def test_a_chunk_that_takes_long_yields_and_goes_on_under_its_id(
    send: Send, stock: Any, settings: Any
) -> None:
    """What it has placed is committed; also after that, what is left of it can fail alone."""
    settings.IMPORT_TURN_S, settings.IMPORT_PORTION_ROWS, settings.IMPORT_CHUNK_ROWS = 0, 2, 5
    stock()
    send(as_csv([cells(external_id=f"o-{index}") for index in range(10)]))
    first = Job.objects.filter(task="orders.imports.tasks.place_chunk").order_by("due_at")[0]
    attempt(first)
    again = Job.objects.get(pk=first.pk)
    assert (
        again.state,
        again.attempts,
        again.queue,
        Order.objects.count(),
        Import.objects.get().ok,
    ) == ("waiting", 0, "bulk", 2, 2)
    kill_with_poison(again)
    work_off(ahead=A_DAY)
    batch = Import.objects.get()
    assert (batch.state, batch.ok, batch.failed, Order.objects.count()) == ("done", 7, 3, 7)


def test_an_order_that_postgres_refuses_is_an_error_and_leaves_nothing(
    send: Send, stock: Any
) -> None:
    """A rule that only the database knows, here on the second of two lines."""
    stock()
    stock("CURSED")
    two = [
        cells(external_id="o-2", total="1320"),
        cells(external_id="o-2", total="1320", sku="CURSED"),
    ]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE orders_orderline ADD CONSTRAINT cursed CHECK (sku <> 'CURSED')")
        try:
            send(as_csv([cells(), *two, cells(external_id="o-3")]))
            work_off(ahead=A_DAY)
        finally:
            cursor.execute("ALTER TABLE orders_orderline DROP CONSTRAINT cursed")
    assert list(Order.objects.order_by("pk").values_list("external_id", "state")) == [
        ("o-1", "confirmed"),
        ("o-3", "confirmed"),
    ]
    assert faults() == [(3, "o-2", "", "the database does not take this order")]
    assert not Job.objects.exclude(state="done").exists()


@pytest.mark.parametrize("rows", [2, 6])
def test_a_chunk_that_cannot_be_worked_off_fails_alone_and_the_import_ends(
    send: Send, stock: Any, settings: Any, rows: int
) -> None:
    """Its job is dead, after it has cost three workers for example. One chunk alone is a chain to
    Celery.
    """
    settings.IMPORT_CHUNK_ROWS = 2
    stock()
    send(as_csv([cells(external_id=f"o-{index}") for index in range(rows)]))
    poison = Job.objects.filter(task="orders.imports.tasks.place_chunk").order_by("due_at")[0]
    kill_with_poison(poison)
    work_off(ahead=A_DAY)
    batch = Import.objects.get()
    assert (batch.state, batch.total, batch.ok, batch.failed) == ("done", rows, rows - 2, 2)
    assert [(row_number, key) for row_number, key, *_ in faults()] == [(2, "o-0"), (3, "o-1")]
    assert "could not be worked off: its worker fell silent" in faults()[0][3]
    assert Order.objects.filter(state="confirmed").count() == rows - 2


@pytest.mark.parametrize("rows", [2, 6])
def test_a_chunk_that_an_operator_cancels_fails_alone_and_the_import_ends(
    send: Send, stock: Any, settings: Any, rows: int
) -> None:
    """Nothing follows from a cancelled job, neither the rest of a chain nor the body of a chord."""
    settings.IMPORT_CHUNK_ROWS = 2
    stock()
    send(as_csv([cells(external_id=f"o-{index}") for index in range(rows)]))
    first = Job.objects.filter(task="orders.imports.tasks.place_chunk").order_by("due_at")[:1]
    assert interventions.cancel(Job.objects.filter(pk__in=first.values("pk")), by="ann")
    work_off()
    assert Import.objects.get().state == "running"
    for _ in range(2):  # the chunks after it, then the end
        tasks.see_to_imports.delay()
        work_off(ahead=A_DAY)
    batch = Import.objects.get()
    assert (batch.state, batch.total, batch.ok, batch.failed) == ("done", rows, rows - 2, 2)
    assert faults()[0] == (
        2,
        "o-0",
        "",
        "its part of the file could not be worked off: its job was cancelled",
    )


def test_an_import_whose_last_step_an_operator_cancels_ends_all_the_same(
    send: Send, stock: Any
) -> None:
    stock()
    send(as_csv([cells()]))
    attempt(Job.objects.get(task="orders.imports.tasks.place_chunk"))
    assert interventions.cancel(Job.objects.filter(task="orders.imports.tasks.finish"), by="ann")
    tasks.see_to_imports.delay()
    work_off(ahead=A_DAY)
    assert (Import.objects.get().state, Import.objects.get().ok) == ("done", 1)


def kill_with_poison(job: Job) -> None:
    """As the clock finds it after its third loss."""
    long_ago = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=job.pk).update(
        state="running",
        token=uuid4(),
        worker=uuid4(),
        pid=1,
        started_at=long_ago,
        lease_until=long_ago,
        losses=2,
    )
    assert Clock(celery_app, worker=uuid4(), name="test").rescuer.rescue() == 1
    job.refresh_from_db()
    assert job.state == "dead"


def test_old_imports_are_forgotten_with_their_faults(send: Send, stock: Any, settings: Any) -> None:
    settings.BATCH_ROWS = 2
    stock()
    send(as_csv([cells(external_id=f"o-{index}", total="1") for index in range(5)]))
    send(as_csv([cells()]), key="import-2")
    work_off(ahead=A_DAY)
    old = Import.objects.get(failed=5)
    tasks.forget_old_imports.delay()
    work_off()
    assert (Import.objects.count(), ImportFault.objects.count()) == (2, 5)
    Import.objects.filter(pk=old.pk).update(
        finished_at=timezone.now() - settings.IMPORT_KEEP - A_DAY
    )
    tasks.forget_old_imports.delay()
    work_off()
    assert (Import.objects.count(), ImportFault.objects.count()) == (1, 0)
    assert ImportOrder.objects.count() == 1
    Import.objects.update(finished_at=timezone.now() - settings.IMPORT_KEEP - A_DAY)
    tasks.forget_old_imports.delay()
    work_off()
    assert (Import.objects.count(), ImportOrder.objects.count(), Order.objects.count()) == (0, 0, 1)


def test_an_import_that_is_not_finished_is_never_forgotten(send: Send, settings: Any) -> None:
    send(as_csv([cells()]))
    Import.objects.update(created_at=F("created_at") - 10 * settings.IMPORT_KEEP)
    attempt(Job.objects.get(pk=tasks.forget_old_imports.delay().id))
    assert (Import.objects.count(), ImportRow.objects.count()) == (1, 1)


def test_to_find_and_take_the_next_rows_costs_the_same_however_many_wait(
    shop: Client, settings: Any
) -> None:
    """At once, also when Postgres knows the rows of an earlier file only."""
    manner, settings.IMPORT_STAGE_BATCH = Manner(Format.CSV), 5_000
    for rows in (5_000, 20_000):
        file = [
            Row(position, text="{" * 300, key=f"o-{position % 15_000}") for position in range(rows)
        ]
        with transaction.atomic():
            batch = Import.objects.accept(shop, file, manner)
        if rows == 5_000:
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE orders_importrow")
    plans = plans_of(lambda: [batch.front, batch.take(0, limit=20)])
    assert [plan.buffers < 300 for plan in plans] == [True] * 2, [plan.nodes for plan in plans]
    assert ImportRow.objects.filter(batch=batch).count() == 20_000 - 40, "with their orders' rows"


def test_the_last_page_of_faults_costs_no_more_than_the_first(shop: Client) -> None:
    batch = Import.objects.create(client=shop, form="csv")
    ImportFault.objects.bulk_create(
        ImportFault(batch=batch, line=index // 2, reason="no") for index in range(20_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE orders_importfault")
    last = ImportFault.objects.filter(batch=batch, line=9_990).latest("pk")
    [first_page, last_page] = plans_of(
        lambda: [
            ImportFault.after(batch.pk, number, pk, 10)
            for number, pk in ((0, 0), (last.line, last.pk))
        ]
    )
    assert [fault.line for fault in ImportFault.after(batch.pk, last.line, last.pk, 3)] == [
        9_991,
        9_991,
        9_992,
    ]
    assert last_page.buffers <= first_page.buffers + 3

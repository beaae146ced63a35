"""What an import says of its rows is read in the reader's language; the API says it in English."""

import csv
import io
import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client as HttpClient
from django.utils import translation

from celery_ledger.testing import work_off
from ops.refusals import errors_of
from orders.imports.files.reading import Format
from orders.imports.inputs import REASON_MAX_CHARS, Fault, bounded
from orders.imports.models import Import, ImportFault
from orders.imports.rows import ImportRow
from orders.imports.stock_rows import stock_in
from orders.inputs.order import EXAMPLE
from orders.models import Client
from tests.ops.browsing import text
from tests.ops.files.uploads import NEW, hidden
from tests.orders.imports.files import as_csv, as_ndjson, cells
from values import money
from values.refused import Refused, Sentence, kept_of, restored

pytestmark = pytest.mark.django_db(transaction=True)
A_DAY = timedelta(days=1)
JAPANESE = re.compile("[ぁ-んァ-ヶ一-龠]")
PAST = cells(token="") | {"number": "", "paid_at": "2025-11-01", "cancelled_at": ""}
ROWS = [
    cells(external_id="o-1", total="1"),
    cells(external_id="o-2", sku="NOTHING"),
    cells(external_id="o-3", quantity="none", currency="¥"),
    cells(external_id="o-4", quantity="0"),
    cells(external_id="o-5", token=""),
    cells(external_id="o-6"),
    cells(external_id="o-6", email="taro@example.com"),
    cells(external_id="o\u200b7"),
    cells(external_id=""),
    PAST | {"external_id": "o-8", "token": "tok_ok"},
    PAST | {"external_id": "o-9", "paid_at": "yesterday"},
    PAST | {"external_id": "o-10", "cancelled_at": "2025-11-02"},
    PAST | {"external_id": "o-11", "method": "cheque"},
]
COLUMNS = (*cells(), "paid_at", "cancelled_at", "method")
SPOILT = b'o-12,JPY\no-13,"' + b"x" * 40 + b"\n"
LINES = [
    b"{",
    b"[1]",
    b'{"total": NaN}',
    b'{"total": 1, "total": 2}',
    b'{"email": "\\u0000"}',
    b'{"a\\u0000": 1}',
    b'{"email": "\\ud800"}',
    b'{"total": 1e999}',
    b'{"total": ' + b"9" * 30 + b"}",
    b"[" * 40 + b"]" * 40,
    b'{"email": "\x00"}',
    b'{"a":"' + b"x" * 200_000 + b'"}',
    b'{"lines": [' + b"1," * 20_000 + b"1]}",
]
FILES = {
    "orders.csv": as_csv([*ROWS, cells(external_id="good")], columns=COLUMNS) + SPOILT,
    "orders.ndjson": as_ndjson([EXAMPLE, {}]) + b"\n".join(LINES),
}


def whys(page: str) -> list[str]:
    return [unescape(why) for why in re.findall(r'<td class="wrap">(.*?)</td>', page)]


def in_english_only(reasons: list[str]) -> list[str]:
    return [why for why in reasons if not JAPANESE.search(why)]


@pytest.mark.parametrize("name", FILES)
def test_staff_read_of_each_row_in_japanese_what_the_api_says_in_english(
    shop: Client, stock: Any, hana: HttpClient, name: str
) -> None:
    stock()
    hana.cookies["django_language"] = "ja"
    file = {"client": str(shop.pk), "amounts": "minor", "encoding": "utf-8"}

    def post(**more: str) -> Any:
        return hana.post(NEW, {**file, "file": SimpleUploadedFile(name, FILES[name]), **more})

    looked = post(look="1").content.decode()
    tried = whys(looked)
    assert (len(tried) > 12, in_english_only(tried)) == (True, [])
    where = post(**hidden(looked))["Location"]
    work_off(ahead=A_DAY)
    assert whys(text(hana, where)) == tried
    downloaded = rows_of(hana.get(f"{where}errors.csv"))
    assert [why for *_, why in downloaded] == ["reason", *tried]
    hana.cookies["django_language"] = "en"
    in_english = list(ImportFault.objects.values_list("reason", flat=True))
    assert (in_english_only(in_english), whys(text(hana, where))) == (in_english, in_english)


def rows_of(answer: Any) -> list[list[str]]:
    content = b"".join(answer.streaming_content)
    assert content.startswith(b"\xef\xbb\xbf"), "or Excel takes it for another encoding"
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


def test_what_the_release_before_wrote_is_shown_as_it_is(shop: Client, hana: HttpClient) -> None:
    """Rows that it staged, and what it said of those that it worked off."""
    old = "has 2 cells, but the header names 10 columns"
    batch = Import.objects.create(client=shop, form="csv", rows=1, total=2, failed=1)
    ImportFault.objects.create(batch=batch, line=2, reason=old)
    ImportRow.objects.create(batch=batch, at=0, line=3, said="", fault=old)
    [row] = batch.take(0, limit=1)
    batch.note([(None, Fault(row.line_number, "", row.fault))])
    hana.cookies["django_language"] = "ja"
    assert whys(text(hana, f"/ops/files/imports/{batch.pk}/")) == [old, old]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"", "utf-8"),
        (b"\n\n", "utf-8"),
        (as_csv([]), "utf-8"),
        (b"PK\x03\x04", "utf-8"),
        (b"%PDF-1.7", "utf-8"),
        (b"\x00e\x00x", "utf-8"),
        ("鮭".encode("cp932"), "utf-8"),
        (b"\x93\x20,\n", "shift_jis"),
        (b"a,b\n1,2\n", "utf-8"),
        (b"sep=^\na^b\n", "utf-8"),
        (b'"a', "utf-8"),
        (as_csv([cells()], columns=[*cells(), "sku", "colour"]), "utf-8"),
        (as_csv([cells()], columns=["sku"]), "utf-8"),
        (as_csv([cells(total="12.50")]), "utf-8"),
        (b",".join([b"sku"] * 101), "utf-8"),
    ],
)
def test_a_file_that_is_not_taken_is_refused_in_japanese(
    shop: Client, hana: HttpClient, content: bytes, encoding: str
) -> None:
    hana.cookies["django_language"] = "ja"
    fields = {"client": str(shop.pk), "amounts": "minor", "encoding": encoding}
    answer = hana.post(NEW, {**fields, "file": SimpleUploadedFile("orders.csv", content + b" ")})
    refusals = answer.context["refusals"]
    assert (answer.status_code, in_english_only(refusals)) == (422, []), refusals
    assert refusals


def test_rows_of_stock_are_refused_in_japanese_too() -> None:
    file = b"sku,on_hand,counted\nA,many,perhaps\nB,-1,\nC,1,\nC,2,\nD,1,,x\nE,\n"
    with pytest.raises(Refused) as refused:
        stock_in(io.BytesIO(file), Format.CSV, "utf-8")
    with translation.override("ja"):
        reasons = [message for _pointer, message in errors_of(refused.value)]
    assert (len(reasons), in_english_only(reasons)) == (5, [])
    assert "/line 5/sku: stands on line 4 too" in refused.value.detail


def test_what_is_kept_of_a_cell_is_bounded(settings: Any) -> None:
    """However long it is: the English, and each of its values beside it."""
    cell = "€" * 100_000
    with pytest.raises(ValueError, match="must be written like") as refused:
        money.read(cell, "EUR")
    reason = bounded(refused.value.args[0])
    kept = kept_of(reason, settings.IMPORT_VALUE_MAX_CHARS)
    assert (reason, len(reason)) == (str(refused.value)[:REASON_MAX_CHARS], REASON_MAX_CHARS)
    assert kept is not None
    assert kept[1] == {"amount": cell[: settings.IMPORT_VALUE_MAX_CHARS]}


def test_a_sentence_is_said_again_from_what_was_kept_of_it() -> None:
    few = Sentence("at most %(places)s digits", places=2)
    sentence = Sentence("%(amount)s has %(few)s", amount="12.505", few=few)
    again = restored(str(sentence), json.loads(json.dumps(kept_of(sentence, 200))))
    assert (again, vars(again)) == (sentence, vars(sentence))
    assert kept_of("is missing", 200) is None
    assert kept_of(Sentence("is missing"), 200) is None
    assert restored("is missing", None) == "is missing"

"""Files as shops have them: each is read rightly, or refused in a sentence that names the line."""

import io
import json
import re
from typing import Any

import pytest

from orders.imports.files.csv_rows import Amounts
from orders.imports.files.reading import Format, Manner, staged
from orders.imports.inputs import NotAnOrder, input_of, orders_in
from orders.inputs.order import OrderInput
from values.refused import Refused

HEADER = "external_id,currency,email,locale,sku,name,quantity,unit_price,total,token"
ROW = "sc-1,JPY,hana@example.com,ja,SC-CUP,湯のみ,1,300,300,tok_ok"
PYTHON = re.compile(r"Traceback|Error|csv\.|codec|expected after|new-line|None|dict\b|\bstr\b")


def read(file: bytes | str, amounts: Amounts = Amounts.MINOR, encoding: str = "utf-8") -> list[Any]:
    """The orders of the file, an OrderInput each, and the Faults of those that are none."""
    raw = file if isinstance(file, bytes) else file.encode()
    found: list[Any] = []
    with staged(io.BytesIO(raw), Manner(Format.CSV, amounts, encoding)) as rows:
        for order in orders_in(rows):
            try:
                found.append(input_of(order, Format.CSV))
            except NotAnOrder as exc:
                found.append(exc.faults)
    return found


def refusal(file: bytes | str, **manner: Any) -> str:
    with pytest.raises(Refused) as refused:
        read(file, **manner)
    assert not PYTHON.search(refused.value.detail), refused.value.detail
    return refused.value.detail


[PLAIN] = read(f"{HEADER}\n{ROW}\n")


def table(*rows: str, header: str = HEADER) -> str:
    return "\r\n".join((header, *rows)) + "\r\n"


def turned(row: str) -> str:
    return ",".join(reversed(row.split(",")))


@pytest.mark.parametrize(
    "file",
    [
        table(ROW.replace(",", ";"), header=HEADER.replace(",", ";")),
        table(ROW.replace(",", "\t"), header=HEADER.replace(",", "\t")),
        table(ROW.replace(",", "|"), header=HEADER.replace(",", "|")),
        "sep=;\r\n" + table(ROW.replace(",", ";"), header=HEADER.replace(",", ";")),
        '"SEP=;"\r\n' + table(ROW.replace(",", ";"), header=HEADER.replace(",", ";")),
        table(ROW.replace(",", ", "), header=HEADER.replace(",", ", ")),
        table(ROW.replace(",", " ,"), header=HEADER.upper()),
        table(ROW + ",", header=HEADER + ","),
        table(ROW + ",,", ",,,,,,,,,,,", "  , ,", header=HEADER + ",,"),
        "\r\n;;\r\n" + table(ROW),
        table(ROW.replace("湯", '"湯').replace("み", 'み"'), header=HEADER.replace("_", " ")),
        "sep=,,,,,\r\n" + table(ROW),
        table(ROW, header="\ufeff\u200b" + HEADER.replace("unit_", "Unit\xa0 ")),
        table('="sc-1"' + ROW.removeprefix("sc-1")),
        table(ROW.replace("sc-1", "sc-1\u3000").replace("SC-CUP", "SC-CUP\xa0")),
        table(ROW.replace(",1,300,300", ",01,0300,300")),
        table(turned(ROW), header=turned(HEADER)),
    ],
    ids=lambda file: repr(file[:20]),
)
def test_a_file_says_the_same_however_it_is_laid_out(file: str) -> None:
    assert read(file) == [PLAIN]


@pytest.mark.parametrize(
    ("codec", "encoding"),
    [
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-8"),  # its mark says so
        ("utf-16", "shift_jis"),
        ("utf-16-le", "utf-16"),  # of which the usual kind has no mark
        ("utf-16-be-sig", "utf-8"),
        ("cp932", "shift_jis"),
    ],
)
def test_a_file_is_read_in_the_encoding_that_it_or_its_sender_says(
    codec: str, encoding: str
) -> None:
    text = table(ROW)
    if codec == "utf-16-be-sig":
        text, codec = "\ufeff" + text, "utf-16-be"
    assert read(text.encode(codec), encoding=encoding) == [PLAIN]


def test_a_text_that_lies_across_two_pieces_is_read_whole() -> None:
    name = "湯" * 200
    rows = [f"o-{index},JPY,a@b.jp,ja,S,{name},1,1,1,t" for index in range(400)]
    for codec, encoding in (("cp932", "shift_jis"), ("utf-16", "utf-8")):
        found = read(table(*rows).encode(codec), encoding=encoding)
        assert {order.lines[0].name for order in found if isinstance(order, OrderInput)} == {name}
        assert len(found) == 400


def test_what_is_written_otherwise_than_it_is_said_is_refused_by_its_line() -> None:
    assert "Line 2 is not UTF-8" in refusal(table(ROW).encode("cp932"))
    assert "encoding=utf-8 or utf-16 or shift_jis" in refusal(table(ROW).encode("cp932"))
    broken = table(*[ROW] * 3).encode("cp932").replace("湯".encode("cp932"), b"\x93\x20", 1)
    assert "Line 2 is not cp932" in refusal(broken, encoding="shift_jis")


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"PK\x03\x04\x14\x00", "This is a workbook and no text"),
        (b"\xd0\xcf\x11\xe0\xa1", "This is a workbook and no text"),
        (b"%PDF-1.7", "This is a PDF and no text"),
        (HEADER.encode("utf-16-le"), "If this is UTF-16, say so: encoding=utf-16"),
        (HEADER.encode("utf-16-be"), "If this is UTF-16, say so: encoding=utf-16"),
    ],
)
def test_what_is_no_text_is_called_what_it_is(start: bytes, says: str) -> None:
    assert says in refusal(start)


def test_further_rows_of_an_order_may_be_blank_where_they_are_as_above() -> None:
    first = "sc-9,JPY,hana@example.com,ja,SC-CUP,湯のみ,1,300,500,tok_ok"
    for again in ("sc-9,,,,SC-PLATE,皿,1,200,,", ",,,,SC-PLATE,皿,1,200,,"):
        [order] = read(table(first, again))
        assert isinstance(order, OrderInput)
        assert [line.sku for line in order.lines] == ["SC-CUP", "SC-PLATE"]
        assert (order.total, order.email) == (500, "hana@example.com")
    [faults] = read(table(first, "sc-9,,taro@example.com,,SC-PLATE,皿,1,200,,"))
    assert [(fault.line_number, fault.field) for fault in faults] == [(3, "email")]


def test_a_row_that_names_no_order_is_not_put_to_the_one_above() -> None:
    """Only where all that is said of an order is blank."""
    [_, faults] = read(table(ROW, ",JPY,hana@example.com,ja,SC-CUP,x,1,300,300,tok_ok"))
    assert [(fault.line_number, fault.field) for fault in faults] == [(3, "external_id")]


def test_shipping_has_columns_of_its_own() -> None:
    header = HEADER + ",shipping,shipping_tax"
    [order] = read(table(ROW.replace(",300,tok_ok", ",850,tok_ok,500,50"), header=header))
    assert isinstance(order, OrderInput)
    assert (order.shipping.amount, order.shipping.tax, order.total) == (500, 50, 850)
    [faults] = read(table(ROW.replace(",300,tok_ok", ",850,tok_ok,-500,x"), header=header))
    assert [fault.field for fault in faults] == ["shipping_tax"]
    [faults] = read(table(ROW.replace(",300,tok_ok", ",850,tok_ok,-500,"), header=header))
    assert [fault.field for fault in faults] == ["shipping"]


def test_the_guarded_and_the_plain_name_are_one() -> None:
    """Two rows of one order, whose total they do not make; and never two orders."""
    guarded = '="0017"' + ROW.removeprefix("sc-1")
    [faults] = read(table(guarded, "0017" + ROW.removeprefix("sc-1")))
    assert [fault.field for fault in faults] == ["total"]


# --- units ----------------------------------------------------------------------------------------


def priced(currency: str, amount: str, quote: bool = False) -> str:
    amount = f'"{amount}"' if quote or "," in amount else amount
    return f"sc-16,{currency},hana@example.com,en,SC-CUP,cup,1,{amount},{amount},tok_ok"


@pytest.mark.parametrize(
    "amount", ["12.50", "12,50", "12.5", "1,200", "1.200", "1 200", "1'200", "$12", "12.-", "1e3"]
)
@pytest.mark.parametrize("currency", ["USD", "JPY"])
def test_a_file_that_leaves_the_unit_in_doubt_is_not_taken_at_all(
    amount: str, currency: str
) -> None:
    """Or the 12 in the row before would be twelve cents, while the 12.50 is refused."""
    sentence = refusal(table(ROW, priced("USD", "12"), priced(currency, amount)))
    assert sentence.startswith(f"line 4, unit_price: {amount} is no whole number of ")
    assert "nothing of it was taken. Say amounts=major if 12 means 12.00 here" in sentence


@pytest.mark.parametrize("column", ["discount", "tax", "shipping", "shipping_tax"])
def test_every_amount_can_leave_it_in_doubt(column: str) -> None:
    file = table(ROW + ",0.5", header=f"{HEADER},{column}")
    assert refusal(file).startswith(f"line 2, {column}: 0.5 is no whole number")


def test_in_a_file_of_json_lines_too() -> None:
    body = PLAIN.model_dump() if isinstance(PLAIN, OrderInput) else {}

    def lines(**changes: Any) -> bytes:
        return b"\n".join(json.dumps({**body, **more}).encode() for more in ({}, changes))

    def rows(file: bytes) -> int:
        with staged(io.BytesIO(file), Manner(Format.NDJSON)) as found:
            return len(list(found))

    for changes in ({"total": 12.5}, {"total": 12.0}, {"shipping": {"amount": 0.5}}):
        with pytest.raises(Refused, match=r"^line 2, (total|amount): [0-9.]+ is no whole number"):
            rows(lines(**changes))
    texts = {"total": "12.50", "note": '"total": 12.5', "nested": '{"total": 12.5}'}
    assert rows(lines(metadata=texts)) == 2


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [
        ("USD", "12.50", 1250),
        ("USD", "12", 1200),
        ("EUR", "12,5", 1250),
        ("EUR", "0.07", 7),
        ("JPY", "1200", 1200),
        ("KWD", "1.205", 1205),
        ("KWD", "1,2", 1200),
    ],
)
def test_major_units_are_read_by_the_currencys_own_digits(
    currency: str, amount: str, minor: int
) -> None:
    [order] = read(table(priced(currency, amount)), amounts=Amounts.MAJOR)
    assert isinstance(order, OrderInput)
    assert (order.total, order.lines[0].unit_price, order.lines[0].quantity) == (minor, minor, 1)


@pytest.mark.parametrize(
    ("currency", "amount", "says"),
    [
        ("USD", "12.505", "USD has at most 2 digits behind a decimal point"),
        ("USD", "1,200", "thousands are written without a separator"),
        ("JPY", "12.50", "JPY has no digits behind a decimal point"),
        ("JPY", "1,200", "thousands are written without a separator"),
        ("JPY", "1.200", "thousands are written without a separator"),
        ("KWD", "1,200", "could be read in two ways"),
        ("USD", "1,200.50", "must be written like 1234.50"),
        ("USD", "$12", "must be written like 1234.50"),
        ("USD", "", "is missing"),
        ("USD", "9" * 16, "must be written like 1234.50"),
    ],
)
def test_what_could_mean_two_amounts_is_refused_with_its_order_only(
    currency: str, amount: str, says: str
) -> None:
    [faults, order] = read(
        table(priced(currency, amount), priced("USD", "12").replace("sc-16", "o-2")),
        amounts=Amounts.MAJOR,
    )
    assert not isinstance(faults, OrderInput)
    assert {(fault.line_number, fault.field) for fault in faults} == {
        (2, "total"),
        (2, "unit_price"),
    }
    assert says in faults[0].reason
    assert isinstance(order, OrderInput)
    assert order.total == 1200


# --- refused in words -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (ROW.replace("湯のみ", '"Frame 12" oak"'), 'write it twice there: ""'),
        (ROW.replace("湯のみ", '"Frame'), "a quote that is never closed"),
        (ROW.replace("湯のみ", "a\rb"), "bare carriage return"),
        (ROW + ",x", "has 11 cells, but the header names 10 columns"),
        ("sc-1,JPY", "has 2 cells, but the header names 10 columns"),
    ],
)
def test_a_row_that_cannot_be_read_says_why_in_words_of_the_file(row: str, says: str) -> None:
    [good, faults] = read(table(ROW.replace("sc-1", "good"), row))
    assert isinstance(good, OrderInput)
    assert not isinstance(faults, OrderInput)
    assert (faults[0].line_number, says in faults[0].reason) == (3, True), faults
    assert not PYTHON.search(faults[0].reason)


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("currency", "", "is missing"),
        ("currency", "¥", "must be an ISO 4217 code like JPY"),
        ("email", "", "is missing"),
        ("sku", "", "is missing"),
        ("sku", "x" * 256, "must be no longer than 255"),
        ("name", "x" * 201, "must be no longer than 200"),
        ("quantity", "0", "must be 1 or more"),
        ("quantity", "9999999", "must be 1000000 or less"),
        ("quantity", "1.5", "must be a whole number"),
        ("unit_price", "-300", "must be 0 or more"),
        ("unit_price", "", "is missing"),
        ("total", "9" * 14, "must be 1000000000000 or less"),
        ("token", "", "is missing"),
        ("token", "tok ok", "must be printable ASCII without spaces"),
        ("external_id", "", "an imported order needs one, so that it comes once"),
    ],
)
def test_a_cell_that_cannot_be_says_what_it_has_to_be(column: str, cell: str, says: str) -> None:
    """In words of whoever wrote it, and not of a library."""
    columns = HEADER.split(",")
    cells = dict(zip(columns, ROW.split(","), strict=True)) | {column: cell}
    [faults] = read(table(",".join(cells[name] for name in columns)))
    assert [(fault.line_number, fault.field) for fault in faults] == [(2, column)]
    assert faults[0].reason == says


def test_a_quote_inside_a_cell_without_quotes_is_a_letter() -> None:
    for written in ('Frame 12" oak', '"Frame 12"" oak"'):
        [order] = read(table(ROW.replace("湯のみ", written)))
        assert isinstance(order, OrderInput)
        assert order.lines[0].name == 'Frame 12" oak'


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (
            "Name,Email,Financial Status,Currency,Total,Lineitem sku",
            "this column is missing: external_id, sku, quantity, unit_price, token; "
            "there is no such column: Financial Status, Lineitem sku; the columns are ",
        ),
        (HEADER + ",Financial Status", "there is no such column: Financial Status"),
        (HEADER + ",Financial Status", "the columns are external_id, currency"),
        (HEADER + ",SKU", "this column stands there twice: sku"),
        (HEADER.replace(",", "^"), "cells are separated by a comma, a semicolon, a tab or |"),
        ("sep=^\n" + HEADER.replace(",", "^"), "line 1 says that ^ separates the cells"),
        (ROW, "line 1 is no header that we know: the columns are external_id"),
    ],
)
def test_a_header_is_refused_with_what_it_should_be(header: str, says: str) -> None:
    assert says in refusal(table(ROW, header=header))

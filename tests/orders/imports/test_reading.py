"""Reading files: whatever stands in them, every row is found once, on its line."""

import csv
import io
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from orders.imports.files.columns import AMOUNTS, OF_THE_ORDER, REQUIRED
from orders.imports.files.lines import Row
from orders.imports.files.reading import Format, rows_of
from values.refused import Refused

COLUMNS = (*REQUIRED, "token", "locale", "discount", "tax", "shipping", "shipping_tax")
HEADER = ",".join(COLUMNS).encode() + b"\n"
LIMIT = 300

texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
tricky = st.sampled_from(
    [
        "",
        '"',
        '""',
        ",",
        "\n",
        "a\nb",
        'say "hi"',
        "鮭",
        "\N{ZERO WIDTH NO-BREAK SPACE}",
        " x ",
        "\x00",
    ]
)
cell = st.one_of(texts, tricky).filter(lambda text: not text.lstrip().startswith(("=", "'")))
amount = st.sampled_from(["", "0", " 12", "-5", "free", "12 ", "000300"])
table = st.lists(
    st.tuples(*(amount if column in AMOUNTS else cell for column in COLUMNS))
    .map(list)
    .filter(lambda row: any(cell.strip() for cell in row)),
    max_size=8,
)


def as_read(rows: list[list[str]]) -> list[dict[str, str]]:
    """Without spaces around; what names no order and says nothing of one is as above."""
    read, above = [], ""
    for row in rows:
        cell_of = dict(zip(COLUMNS, map(str.strip, row), strict=True))
        if not any(cell_of[column] for column in COLUMNS if column in OF_THE_ORDER) and (
            not cell_of["external_id"]
        ):
            cell_of["external_id"] = above
        above = cell_of["external_id"]
        read.append(cell_of)
    return read


def read(file: bytes, form: Format = Format.CSV) -> list[Row]:
    return list(rows_of(io.BytesIO(file), form))


def written(rows: list[list[str]], *, end: str = "\n", quoting: Any = csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=quoting).writerows(rows)
    return text.getvalue().encode()


@given(
    rows=table,
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    last=st.booleans(),
)
def test_every_cell_comes_back_and_every_row_stands_on_its_line(
    rows: list[list[str]], end: str, bom: bool, quoting: Any, last: bool
) -> None:
    file = (b"\xef\xbb\xbf" if bom else b"") + written([list(COLUMNS)], end=end, quoting=quoting)
    lines = []
    for row in rows:
        lines.append(file.count(b"\n") + 1)
        file += written([row], end=end, quoting=quoting)
    found = read(file if last else file.removesuffix(end.encode()))
    assert [json.loads(row.text) for row in found] == as_read(rows)
    assert [row.line_number for row in found] == lines
    assert [row.fault for row in found] == [""] * len(rows)


@given(rest=st.binary(max_size=400))
def test_no_bytes_are_too_much_for_it(rest: bytes) -> None:
    """A file is refused as a whole, or each of its rows is there or says why it is not; lines only
    go up.
    """
    for file, form in ((HEADER + rest, Format.CSV), (rest, Format.CSV), (rest, Format.NDJSON)):
        rows = []
        with suppress(Refused):
            rows = read(file, form)
        lines = [row.line_number for row in rows]
        assert lines == sorted(set(lines))
        assert all(line <= file.count(b"\n") + 1 for line in lines)
        assert all(bool(row.text) != bool(row.fault) for row in rows)
        assert "\x00" not in "".join([row.text + row.fault + (row.key or "") for row in rows])


@given(
    before=st.lists(st.sampled_from(["a", "b"]), max_size=3),
    bad=st.sampled_from(
        ['"never closed', '"closed" too early', "x" * LIMIT, '"' + "x" * LIMIT + '"']
    ),
    after=st.lists(st.sampled_from(["a", 'say "hi"', "two\nlines"]), max_size=12),
)
def test_a_spoilt_line_spoils_itself_and_no_other(
    before: list[str], bad: str, after: list[str]
) -> None:
    """Wherever the text after an opening quote would swallow the rows behind it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.IMPORT_ROW_MAX_BYTES", LIMIT)
        good = [[text] + ["x"] * (len(COLUMNS) - 1) for text in before]
        better = [[text] + ["x"] * (len(COLUMNS) - 1) for text in after]
        found = read(HEADER + written(good) + f"{bad}\n".encode() + written(better))
    faults = [row.line_number for row in found if row.fault]
    assert faults[0] == 2 + len(before)
    if '"' not in bad or not any('"' in text or "\n" in text for text in after):
        assert len(faults) == 1
        assert [json.loads(row.text)["external_id"] for row in found if row.text] == before + after


body = st.one_of(st.none(), st.just(b"x" * (LIMIT + 5)), texts.map(json.dumps).map(str.encode))


@given(bodies=st.lists(body), end=st.sampled_from([b"\n", b"\r\n"]))
def test_every_line_of_ndjson_is_a_row_of_its_own(bodies: list[bytes | None], end: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.IMPORT_ROW_MAX_BYTES", LIMIT)
        found = read(b"".join((body or b"") + end for body in bodies), Format.NDJSON)
    expected = [(number, body) for number, body in enumerate(bodies, start=1) if body]
    assert [row.line_number for row in found] == [number for number, _ in expected]
    assert [row.text.encode() if row.text else None for row in found] == [
        None if len(body) > LIMIT else body for _, body in expected
    ]


@pytest.mark.parametrize("form", list(Format))
def test_a_line_that_never_ends_is_read_in_pieces(settings: Settings, form: Format) -> None:
    settings.IMPORT_ROW_MAX_BYTES = LIMIT

    class Pieces(io.BytesIO):
        longest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            piece = super().readline(size)
            self.longest = max(self.longest, len(piece))
            return piece

    good = b"x," * (len(COLUMNS) - 1) + b"x\n" if form == Format.CSV else b"{}\n"
    file = Pieces((HEADER if form == Format.CSV else b"{}\n") + b"y" * 50 * LIMIT + b"\n" + good)
    rows = list(rows_of(file, form))
    assert [(row.line_number, bool(row.fault)) for row in rows][-2:] == [(2, True), (3, False)]
    assert file.longest == LIMIT + 1


def test_many_short_lines_in_an_open_quote_cost_one_pass(settings: Settings) -> None:
    """The quote swallows as much as a row may hold, and then gives back all but its own line."""
    settings.IMPORT_ROW_MAX_BYTES = 1000
    rows = read(HEADER + b'"\n' + b"x\n" * 20_000)
    assert len(rows) == 20_001
    assert {row.fault for row in rows[1:]} == {
        f"has 1 cells, but the header names {len(COLUMNS)} columns"
    }


def test_an_open_quote_reads_no_further_ahead_than_a_row_may_be_long(settings: Settings) -> None:
    settings.IMPORT_ROW_MAX_BYTES = 1000
    file = io.BytesIO(HEADER + b'"\n' + b"x\n" * 20_000)
    first = next(rows_of(file, Format.CSV))
    assert (first.line_number, bool(first.fault)) == (2, True)
    assert file.tell() < len(HEADER) + 1100


def test_quotes_that_never_close_do_not_have_the_file_read_over_and_over(
    settings: Settings,
) -> None:
    """Each of these lines opens a quote that no later one closes, and as many lines behind it as a
    row may hold.
    """
    settings.IMPORT_ROW_MAX_BYTES, settings.IMPORT_AGAIN_MAX_BYTES = 600, 100_000
    rows = rows_of(io.BytesIO(HEADER + b'b",",\n' * 500), Format.CSV)
    found: list[int] = []
    with pytest.raises(Refused) as refused:
        found += (row.line_number for row in rows)
    assert (refused.value.slug, found) == ("invalid", list(range(2, 12)))
    [(_, message)] = refused.value.errors
    assert message == "too many quotes are never closed; the one on line 12 is the last we follow"

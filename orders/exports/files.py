"""The text of a file of orders, in pieces: NDJSON, a body per line, or CSV, a row per order line.

The columns of an order are filled in its first row only. A cell that a spreadsheet would take for a
formula has an apostrophe before it, which an import takes away.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from io import StringIO
from typing import Any

from orders.imports.files.columns import COLUMNS, JSON, LISTS, OF_THE_LINE, OF_THE_ORDER, Place
from orders.imports.files.lines import BOM
from orders.imports.files.reading import Format
from values.csv_cells import harmless

MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8; header=present",
    Format.NDJSON: "application/x-ndjson",
}


def head(form: Format, *, bom: bool) -> str:
    """The text of a file before its first order: a CSV's header. `bom`: with a mark of UTF-8."""
    header = _table([{name: name for name in COLUMNS}]) if form == Format.CSV else ""
    return BOM + header if bom else header


def text_of(bodies: Iterable[dict[str, Any]], form: Format) -> str:
    if form == Format.NDJSON:
        return "".join(f"{_json(body)}\n" for body in bodies)
    return _table(row for body in bodies for row in _rows(body))


def _rows(body: dict[str, Any]) -> Iterator[dict[str, str]]:
    of_the_order = {column: _member(body, place) for column, place in OF_THE_ORDER.items()}
    for line in body["lines"]:
        cells = {name: line.get(name) for name in OF_THE_LINE} | of_the_order
        yield {
            "external_id": harmless(body["external_id"]),
            **{column: _cell(column, value) for column, value in cells.items()},
        }
        of_the_order = {}


def _member(body: dict[str, Any], place: Place) -> Any:
    for name in place[:-1]:
        body = body.get(name, {})
    return body.get(place[-1])


def _cell(column: str, value: Any) -> str:
    if isinstance(value, str):
        return harmless(value)
    if value in (None, [], {}):
        return ""
    if column in LISTS and not any("," in text or text.startswith("[") for text in value):
        return harmless(", ".join(value))
    return _json(value) if column in JSON or column in LISTS else str(value)


def _table(rows: Iterable[dict[str, str]]) -> str:
    text = StringIO()
    csv.DictWriter(text, COLUMNS, restval="", lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

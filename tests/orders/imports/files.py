"""Files of orders: as CSV, as NDJSON, and how to send one."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from orders.imports.models import Import

COLUMNS = (
    "external_id",
    "currency",
    "email",
    "locale",
    "sku",
    "name",
    "quantity",
    "unit_price",
    "discount",
    "tax",
    "total",
    "token",
)
CELLS = (
    "o-1",
    "JPY",
    "hana@example.com",
    "ja",
    "SAKE-NIGIRI",
    "鮭",
    "2",
    "300",
    "",
    "60",
    "660",
    "tok_ok",
)


def cells(**changes: str) -> dict[str, str]:
    return {**dict(zip(COLUMNS, CELLS, strict=True)), **changes}


def as_csv(
    rows: Sequence[dict[str, str]], *, columns: Sequence[str] = COLUMNS, end: str = "\n"
) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator=end, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_ndjson(bodies: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(body, ensure_ascii=False).encode() + b"\n" for body in bodies)


def faults(batch: Import | None = None) -> list[tuple[int, str, str, str]]:
    batch = batch or Import.objects.get()
    return [
        (fault.line, fault.external_id, fault.field, fault.reason) for fault in batch.faults.all()
    ]

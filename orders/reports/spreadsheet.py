"""A report as CSV (RFC 4180, UTF-8): one table whose `section` says what a row is about.

=========  ========================================================================================
column     holds
=========  ========================================================================================
section    total (one for each currency), hour (one for each hour of the day) or sku (the top ones);
           of a month total or day
date       the day, yyyy-mm-dd, or in the totals of a month yyyy-mm
currency   ISO 4217; every amount of the row is an integer in its minor unit
hour       of hour rows: the beginning of the hour, ISO 8601 with its offset
sku, name  of sku rows
quantity   of sku rows: units sold
orders     of total, day and hour rows: orders confirmed
gross      captured; of sku rows: what the units came to
refunds    of total, day and hour rows: given back
net        of total, day and hour rows: gross - refunds
=========  ========================================================================================

A sku or name that a spreadsheet would take for a formula has an apostrophe before it.
"""

import csv
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from values.csv_cells import harmless

COLUMNS = (
    "section",
    "date",
    "currency",
    "hour",
    "sku",
    "name",
    "quantity",
    "orders",
    "gross",
    "refunds",
    "net",
)


def written(report: Mapping[str, Any]) -> str:
    """The table of a report of a day or of a month, as the API shows it."""
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for row in _rows(report):
        writer.writerow({"date": report.get("date") or report["month"], **row})
    return text.getvalue()


def _rows(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for of_currency in report["currencies"]:
        currency = of_currency["currency"]
        yield {"section": "total", "currency": currency, **_amounts(of_currency)}
        for day in of_currency.get("by_day", ()):
            yield {"section": "day", "date": day["date"], "currency": currency, **_amounts(day)}
        for hour in of_currency.get("by_hour", ()):
            yield {"section": "hour", "currency": currency, "hour": hour["hour"], **_amounts(hour)}
        for sold in of_currency.get("top_skus", ()):
            yield {
                "section": "sku",
                "currency": currency,
                "sku": harmless(sold["sku"]),
                "name": harmless(sold["name"]),
                "quantity": sold["quantity"],
                "gross": sold["amount"],
            }


def _amounts(of: Mapping[str, Any]) -> dict[str, int]:
    return {name: of[name] for name in ("orders", "gross", "refunds", "net")}

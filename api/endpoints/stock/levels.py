"""/v1/stock: what there is of each sku."""

import re
from io import BytesIO
from typing import Annotated

from django.db import transaction
from django.http import Http404, HttpResponse
from ninja import Body, Path, Router, Status
from pydantic import Field

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer, encoded
from api.conventions.etag import require_match, tag_of_content
from api.conventions.idempotency import Done, once
from api.conventions.paging import NOT_OURS
from api.endpoints.imports import FILE, Encoding, manner_of
from api.shapes.headers import CONTENT_TAG, IDEMPOTENCY_KEY, IF_MATCH, IN_PROGRESS, REPLAYED, scoped
from api.shapes.requests.goods import StockChange, StockCount
from api.shapes.responses import stock as shapes
from orders import snapshots
from orders.imports.files.csv_rows import Amounts
from orders.imports.stock_rows import OPTIONAL, REQUIRED, stock_in
from orders.inputs.shape import SKU_MAX_CHARS, Sku
from orders.models import Stock
from values.refused import Refused
from values.texts import AnyText, Matching

router = Router(tags=["stock"])

STOCK_MAX = 1000  # rows of a page
# The cursor of a page is a sku in hex, since an address could not hold it as it is: UTF-8 by bytes.
MORE = "[89ab][0-9a-f]"  # of a character's bytes in UTF-8
CHARACTER = (
    f"[2-6][0-9a-f]|7[0-9a-e]|(?:c[2-9a-f]|d[0-9a-f]){MORE}|e0[ab][0-9a-f]{MORE}|"
    f"e[1-9abcef](?:{MORE}){{2}}|ed[89][0-9a-f]{MORE}|f0[9ab][0-9a-f](?:{MORE}){{2}}|"
    f"f[123](?:{MORE}){{3}}|f48[0-9a-f](?:{MORE}){{2}}"
)
SKU_IN_HEX = re.compile(f"(?:{CHARACTER}){{1,{SKU_MAX_CHARS}}}")
AfterSku = Annotated[str, Matching(SKU_IN_HEX, NOT_OURS, "cursor")]


@router.get(
    "", summary="List the stock", response=shapes.StockList, openapi_extra=scoped("stock:read")
)
def list_stock(
    request: AuthenticatedRequest,
    limit: Annotated[int, Field(ge=1, le=STOCK_MAX)] = STOCK_MAX,
    after: AfterSku | None = None,
) -> HttpResponse:
    """In the order of the skus. `next` of a page is the `after` of the following one; null on the
    last.
    """
    rows = Stock.objects.there().order_by("sku")
    if after is not None:
        rows = rows.filter(sku__gt=bytes.fromhex(after).decode())
    return answer(shapes.StockList.of(rows, Stock.snapshot, limit=limit, cursor=_sku_in_hex))


def _sku_in_hex(row: Stock) -> str:
    return row.sku.encode().hex()


FILE_OF_STOCK = f"""NDJSON, or CSV whose first row names the columns:
{", ".join(f"`{name}`" for name in REQUIRED)}, and if you like
{", ".join(f"`{name}`" for name in OPTIONAL)}. Each row is one sku, and says what a PUT of it says;
what is blank stays as it is, and so do the skus that are not in the file. It is taken as a whole or
not at all: what is wrong is named by its line and field.
"""


@router.put(
    "",
    summary="Count many skus from a file",
    description=FILE_OF_STOCK,
    response=shapes.StockFile,
    openapi_extra=FILE | scoped("stock:write"),
)
def count_file(request: AuthenticatedRequest, encoding: Encoding | None = None) -> HttpResponse:
    manner = manner_of(request, Amounts.MINOR, encoding)
    counts, places = stock_in(BytesIO(request.body), manner.form, manner.encoding)
    counted = Stock.objects.describe(counts, places=places)
    return answer(shapes.StockFile(rows=len(counted)))


@router.get(
    "/{rest:sku}",
    summary="Read one sku",
    response=snapshots.Stock,
    openapi_extra=scoped("stock:read", headers={200: CONTENT_TAG}),
)
def read_stock(request: AuthenticatedRequest, sku: Path[AnyText]) -> HttpResponse:
    row = Stock.objects.there().filter(sku=sku).first()
    if row is None:
        raise Http404
    return _tagged(row)


@router.patch(
    "/{rest:sku}",
    summary="Count one sku up or down",
    response=snapshots.Stock,
    openapi_extra=scoped(
        "stock:write",
        IDEMPOTENCY_KEY,
        headers={200: REPLAYED},
        conflict=f"{IN_PROGRESS.removeprefix('or ').capitalize()}.",
    ),
)
def adjust_stock(
    request: AuthenticatedRequest, sku: Path[AnyText], change: Body[StockChange]
) -> HttpResponse:
    """The reason stands in the stock's book."""

    def adjust() -> Done:
        row = Stock.objects.adjust(sku, change.delta, reason=change.reason)
        if row is None:
            raise Http404
        return 200, None, row.snapshot()

    return once(request, change, adjust)


@router.put(
    "/{rest:sku}",
    summary="Count one sku, or say how it is sold; creates it",
    response=snapshots.Stock,
    openapi_extra=scoped("stock:write", IF_MATCH, headers={200: CONTENT_TAG}),
)
def count_stock(
    request: AuthenticatedRequest, sku: Path[Sku], count: Body[StockCount]
) -> HttpResponse:
    """What is not sent stays as it is. With `If-Match` or `expected` nothing is set unless all, or
    what is on hand, is as you saw it.
    """
    with transaction.atomic():
        _require_as_seen(request, Stock.objects.locked(sku), count)
        [row] = Stock.objects.describe({sku: count})
    return _tagged(row)


@router.delete(
    "/{rest:sku}",
    summary="Remove one sku",
    response={204: None},
    openapi_extra=scoped("stock:write", conflict="It is reserved for orders."),
)
def remove_stock(request: AuthenticatedRequest, sku: Path[AnyText]) -> Status[None]:
    """It is not listed any more and cannot be ordered; its movements stay. A PUT makes it anew."""
    if not Stock.objects.remove(sku):
        raise Http404
    return Status(204, None)


def _require_as_seen(request: AuthenticatedRequest, row: Stock | None, count: StockCount) -> None:
    """Raises a 412 problem. The caller holds the lock."""
    require_match(request, None if row is None else _tag_of(row))
    on_hand = row.on_hand if row else None
    if count.expected not in (None, on_hand):
        there = "there is no such sku" if row is None else f"{on_hand} are on hand"
        message = f"{count.expected} were expected, but {there}"
        raise Refused("precondition-failed", message, errors=[("/expected", message)])


def _tagged(row: Stock) -> HttpResponse:
    return answer(row.snapshot(), headers={"ETag": _tag_of(row)})


def _tag_of(row: Stock) -> str:
    return tag_of_content(encoded(row.snapshot()))

"""/v1/stock: what there is of each sku."""

import re
from typing import Annotated, Any

from django.db import IntegrityError
from django.http import Http404, HttpResponse
from ninja import Body, Path, Router
from pydantic import Field

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.idempotency import Done, once
from api.conventions.paging import NOT_OURS, page
from api.shapes import responses
from api.shapes.headers import IDEMPOTENCY_KEY, REPLAYED, described
from api.shapes.requests import StockChange, StockCount
from orders.models import Stock
from orders.order_input import SKU_MAX_CHARS, Sku
from values.refused import invalid
from values.texts import AnyText, Matching

router = Router(tags=["stock"])


STOCK_MAX = 1000  # rows of a page
# an address could not hold it as it is
MORE = "[89ab][0-9a-f]"  # of a character's bytes in UTF-8
CHARACTER = (
    f"[2-6][0-9a-f]|7[0-9a-e]|(?:c[2-9a-f]|d[0-9a-f]){MORE}|e0[ab][0-9a-f]{MORE}|"
    f"e[1-9abcef](?:{MORE}){{2}}|ed[89][0-9a-f]{MORE}|f0[9ab][0-9a-f](?:{MORE}){{2}}|"
    f"f[123](?:{MORE}){{3}}|f48[0-9a-f](?:{MORE}){{2}}"
)
SKU_IN_HEX = re.compile(f"(?:{CHARACTER}){{1,{SKU_MAX_CHARS}}}")
AfterSku = Annotated[str, Matching(SKU_IN_HEX, NOT_OURS, "cursor")]


@router.get(
    "",
    summary="List the stock",
    response=responses.StockList,
    openapi_extra=described("stock:read"),
)
def list_stock(
    request: AuthenticatedRequest,
    limit: Annotated[int, Field(ge=1, le=STOCK_MAX)] = STOCK_MAX,
    after: AfterSku | None = None,
) -> HttpResponse:
    """In the order of the skus. `next` of a page is the `after` of the following one; null on the
    last.
    """
    rows = Stock.objects.order_by("sku")
    if after is not None:
        rows = rows.filter(sku__gt=bytes.fromhex(after).decode())
    return answer(page(rows, _stock, limit=limit, cursor=lambda row: row.sku.encode().hex()))


@router.get(
    "/{rest:sku}",
    summary="Read one sku",
    response=responses.Stock,
    openapi_extra=described("stock:read"),
)
def read_stock(request: AuthenticatedRequest, sku: Path[AnyText]) -> HttpResponse:
    row = Stock.objects.filter(sku=sku).first()
    if row is None:
        raise Http404
    return answer(_stock(row))


@router.patch(
    "/{rest:sku}",
    summary="Count one sku up or down",
    response=responses.Stock,
    openapi_extra=described(
        "stock:write",
        IDEMPOTENCY_KEY | {"required": False},
        headers={200: REPLAYED},
        conflict="The first request with this key is still running (then with Retry-After).",
    ),
)
def adjust_stock(
    request: AuthenticatedRequest, sku: Path[AnyText], change: Body[StockChange]
) -> HttpResponse:
    """The reason stands in the stock's book. With an Idempotency-Key a repeat changes nothing."""

    def adjust() -> Done:
        try:
            row = Stock.objects.adjust(sku, change.delta, reason=change.reason)
        except IntegrityError as exc:
            raise invalid(("/delta", "leaves less than what is reserved for orders")) from exc
        if row is None:
            raise Http404
        return 200, None, _stock(row)

    if "Idempotency-Key" in request.headers:
        return once(request, change, adjust)
    return answer(adjust()[2])


@router.put(
    "/{rest:sku}",
    summary="Count one sku; creates it",
    response=responses.Stock,
    openapi_extra=described("stock:write"),
)
def count_stock(
    request: AuthenticatedRequest, sku: Path[Sku], count: Body[StockCount]
) -> HttpResponse:
    try:
        row = Stock.objects.set_on_hand(sku, count.on_hand, name=count.name)
    except IntegrityError as exc:
        raise invalid(("/on_hand", "is less than what is reserved for orders")) from exc
    return answer(_stock(row))


def _stock(row: Stock) -> dict[str, Any]:
    return {
        "sku": row.sku,
        "name": row.name,
        "on_hand": row.on_hand,
        "reserved": row.reserved,
        "available": row.available,
    }

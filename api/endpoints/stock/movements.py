"""/v1/stock-movements: the stock's book, why there is what there is."""

import re
from functools import partial
from typing import Annotated

from django.http import HttpResponse
from ninja import Router

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.paging import NOT_OURS, Limit, id_of
from api.shapes.headers import scoped
from api.shapes.responses import stock as shapes
from orders.models import StockMovement
from values.texts import AnyText, Matching

router = Router(tags=["stock"])
NUMBER = re.compile("[1-9][0-9]{0,17}")


@router.get(
    "",
    summary="List what moved the stock",
    response=shapes.StockMovements,
    openapi_extra=scoped("stock:read"),
)
def list_stock_movements(
    request: AuthenticatedRequest,
    sku: AnyText | None = None,
    limit: Limit = 20,
    after: Annotated[str, Matching(NUMBER, NOT_OURS, "cursor")] | None = None,
) -> HttpResponse:
    """Newest first, of one sku or of all, also of those that were removed. The deltas of a sku add
    up to what is on hand and reserved of it.
    """
    rows = StockMovement.objects.select_related("stock", "order").order_by("-pk")
    if sku is not None:
        rows = rows.filter(stock__sku=sku)
    if after is not None:
        rows = rows.filter(pk__lt=int(after))
    snapshot = partial(StockMovement.snapshot, to=request.auth.client_id)
    return answer(shapes.StockMovements.of(rows, snapshot, limit=limit, cursor=id_of))

"""The order API. HTTP stays here: parse, one verb, answer. What an order means is in `orders.models`."""

import re
from typing import Annotated, Any
from uuid import UUID

from django.db import IntegrityError
from django.http import Http404, HttpResponse
from ninja import Body, Path, Query, Router
from pydantic import Field

from jobs.paging import NOT_OURS, AfterId, Limit, id_of, page
from notifications import events
from orders import shown
from orders.answers import AuthenticatedRequest, Done, answer, once, own_order, tagged
from orders.clients import Client
from orders.described import (
    APPLIED,
    ETAG,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    IN_PROGRESS,
    LOCATION,
    PREFER,
    REPLAYED,
    described,
)  # fmt: skip
from orders.models import Order
from orders.problems import invalid
from orders.schemas import AnyText, OrderDraft, OrderFilter, Sku, StockChange, StockCount
from orders.stock import Stock
from orders.tasks import begin
from orders.waiting import waited
from values.patterns import Matching

router = Router(tags=["orders"])
stock_router = Router(tags=["stock"])

STOCK_MAX = 1000  # rows of a page
SKU_IN_HEX = re.compile("(?:2[1-9a-f]|[3-6][0-9a-f]|7[0-9a-e]){1,100}")  # an address could not hold it as it is
AfterSku = Annotated[str, Matching(SKU_IN_HEX, NOT_OURS, "cursor")]
SEQ_MAX = 2**31 - 1


@router.post(
    "",
    summary="Place an order",
    response={202: shown.Order, 200: shown.Order},
    openapi_extra=described(
        "orders:write", IDEMPOTENCY_KEY, PREFER,
        headers=dict.fromkeys((200, 202), LOCATION | REPLAYED | APPLIED),
        conflict=f"The external_id belongs to an earlier order (then with its Location), {IN_PROGRESS}.",
    ),
)  # fmt: skip
def place_order(request: AuthenticatedRequest, draft: Body[OrderDraft]) -> HttpResponse:
    """Accepted, and worked off in the background. `Prefer: wait=N` holds the answer until the order is decided."""

    def accept() -> Done:
        order = place(request.auth.client, draft)
        return 202, f"/v1/orders/{order.pk}", order.snapshot()

    return waited(request, once(request, draft, accept))


def place(client: Client, draft: OrderDraft) -> Order:
    """Accept an order with its event and its first job, in the caller's transaction: the API's way and the shop's."""
    order = Order.objects.place(client, draft)
    begin(order)
    return order


@router.get("", summary="List orders, newest first", response=shown.OrderPage, openapi_extra=described("orders:read"))
def list_orders(
    request: AuthenticatedRequest,
    narrowed: Query[OrderFilter],
    limit: Limit = 20,
    after: AfterId | None = None,
) -> HttpResponse:
    """`next` of a page is the `after` of the following one; null on the last."""
    orders = Order.objects.of(request.auth.client).narrowed(**narrowed.model_dump())
    if after is not None:
        orders = orders.filter(pk__lt=after)
    newest_first = orders.order_by("-pk").prefetch_related("lines")
    return answer(page(newest_first, Order.snapshot, limit=limit, cursor=id_of))


@router.get(
    "/{uuid:order_id}",
    summary="Read an order",
    response=shown.Order,
    openapi_extra=described("orders:read", IF_NONE_MATCH, headers={200: ETAG}, unchanged=True),
)
def read_order(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    return tagged(request, own_order(request, pk=order_id))


@router.get(
    "/by-external/{rest:external_id}",
    summary="Read an order by the client's own id",
    response=shown.Order,
    openapi_extra=described("orders:read", IF_NONE_MATCH, headers={200: ETAG}, unchanged=True),
)
def read_order_by_external_id(request: AuthenticatedRequest, external_id: Path[AnyText]) -> HttpResponse:
    """Percent-encode it; a slash may stay as it is."""
    return tagged(request, own_order(request, external_id=external_id))


@router.get(
    "/{uuid:order_id}/events",
    summary="Read what happened to an order",
    response=shown.Timeline,
    openapi_extra=described("orders:read"),
)
def read_events(
    request: AuthenticatedRequest,
    order_id: UUID,
    limit: Limit = 100,
    after: Annotated[int, Field(ge=0, le=SEQ_MAX)] = 0,
) -> HttpResponse:
    """The oldest first, those after that `seq`. `next` of a page is the `after` of the following one."""
    order = own_order(request, pk=order_id)
    timeline = events.timeline(order.pk, after=after)
    return answer(
        page(
            timeline, lambda e: {"seq": e.seq, "type": e.kind, "at": e.at.isoformat(), "data": e.data},
            limit=limit, cursor=lambda e: str(e.seq),
        )
    )  # fmt: skip


@stock_router.get("", summary="List the stock", response=shown.StockList, openapi_extra=described("stock:read"))
def list_stock(
    request: AuthenticatedRequest,
    limit: Annotated[int, Field(ge=1, le=STOCK_MAX)] = STOCK_MAX,
    after: AfterSku | None = None,
) -> HttpResponse:
    """In the order of the skus. `next` of a page is the `after` of the following one; null on the last."""
    rows = Stock.objects.order_by("sku")
    if after is not None:
        rows = rows.filter(sku__gt=bytes.fromhex(after).decode())
    return answer(page(rows, _stock, limit=limit, cursor=lambda row: row.sku.encode().hex()))


@stock_router.get("/{rest:sku}", summary="Read one sku", response=shown.Stock, openapi_extra=described("stock:read"))
def read_stock(request: AuthenticatedRequest, sku: Path[Sku]) -> HttpResponse:
    row = Stock.objects.filter(sku=sku).first()
    if row is None:
        raise Http404
    return answer(_stock(row))


@stock_router.patch(
    "/{rest:sku}",
    summary="Count one sku up or down",
    response=shown.Stock,
    openapi_extra=described(
        "stock:write", IDEMPOTENCY_KEY | {"required": False}, headers={200: REPLAYED},
        conflict="The first request with this key is still running (then with Retry-After).",
    ),
)  # fmt: skip
def adjust_stock(request: AuthenticatedRequest, sku: Path[Sku], change: Body[StockChange]) -> HttpResponse:
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


@stock_router.put(
    "/{rest:sku}", summary="Count one sku; creates it", response=shown.Stock, openapi_extra=described("stock:write")
)
def count_stock(request: AuthenticatedRequest, sku: Path[Sku], count: Body[StockCount]) -> HttpResponse:
    try:
        row = Stock.objects.set_on_hand(sku, count.on_hand, name=count.name)
    except IntegrityError as exc:
        raise invalid(("/on_hand", "is less than what is reserved for orders")) from exc
    return answer(_stock(row))


def _stock(row: Stock) -> dict[str, Any]:
    return {
        "sku": row.sku, "name": row.name, "on_hand": row.on_hand, "reserved": row.reserved, "available": row.available,
    }  # fmt: skip

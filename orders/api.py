"""The order API. HTTP stays here: parse, one verb, answer. What an order means is in `orders.models`."""

import json
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.http import parse_etags
from ninja import Body, Path, Router

from notifications import events
from orders.clients import ApiKey, Client, IdempotencyKey
from orders.models import Order
from orders.problems import Problem, invalid
from orders.schemas import OrderDraft, Sku, StockCount
from orders.stock import Stock
from orders.tasks import put_on_desk, reserve

router = Router(tags=["orders"])
stock_router = Router(tags=["stock"])

IDEMPOTENCY_KEY_MAX_CHARS = 255
LIST_LIMIT = 1000


class AuthenticatedRequest(HttpRequest):
    """What ninja hands to an operation behind a key."""

    auth: ApiKey


@router.post("", summary="Place an order")
def place_order(request: AuthenticatedRequest, draft: Body[OrderDraft]) -> HttpResponse:
    request.auth.require("orders:write")
    client, key = request.auth.client, _idempotency_key(request)
    with transaction.atomic():
        kept = IdempotencyKey.objects.begin(client, key, draft.model_dump())
        replayed = kept.answered
        if not replayed:
            order = place(client, draft)
            kept.answer(status=202, location=f"/v1/orders/{order.pk}", body=encoded(order.snapshot()))
    answer = HttpResponse(kept.body, status=kept.status, content_type="application/json")
    answer["Location"] = kept.location or ""
    if replayed:
        answer["Idempotent-Replayed"] = "true"
    return answer


def place(client: Client, draft: OrderDraft) -> Order:
    """Accept an order with its event and its first job, in the caller's transaction: the API's way and the shop's."""
    order = Order.objects.place(client, draft)
    reserve.apply_async((str(order.pk),), link_error=put_on_desk.si(str(order.pk), "reservation_failed"))
    return order


@router.get("/{uuid:order_id}", summary="Read an order")
def read_order(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    request.auth.require("orders:read")
    order = _own_order(request, order_id)
    tag = f'"{order.version}"'
    asked = parse_etags(request.headers.get("If-None-Match", ""))
    if "*" in asked or tag in [known.removeprefix("W/") for known in asked]:  # gzip on the way weakens a tag
        return HttpResponse(status=304, headers={"ETag": tag})
    return _answer(order.snapshot(), headers={"ETag": tag})


@router.get("/{uuid:order_id}/events", summary="Read what happened to an order")
def read_events(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    request.auth.require("orders:read")
    order = _own_order(request, order_id)
    timeline = events.timeline(order.pk)
    return _answer(
        {"data": [{"seq": e.seq, "type": e.kind, "at": e.at.isoformat(), "data": e.data} for e in timeline]}
    )  # fmt: skip


@stock_router.get("", summary="List the stock")
def list_stock(request: AuthenticatedRequest) -> HttpResponse:
    request.auth.require("stock:read")
    return _answer({"data": [_stock(row) for row in Stock.objects.order_by("sku")[:LIST_LIMIT]]})


@stock_router.get("/{sku}", summary="Read one sku")
def read_stock(request: AuthenticatedRequest, sku: Path[Sku]) -> HttpResponse:
    request.auth.require("stock:read")
    row = Stock.objects.filter(sku=sku).first()
    if row is None:
        raise Http404
    return _answer(_stock(row))


@stock_router.put("/{sku}", summary="Count one sku; creates it")
def count_stock(request: AuthenticatedRequest, sku: Path[Sku], count: Body[StockCount]) -> HttpResponse:
    request.auth.require("stock:write")
    try:
        row = Stock.objects.set_on_hand(sku, count.on_hand, name=count.name)
    except IntegrityError as exc:
        raise invalid(("/on_hand", "is less than what is reserved for orders")) from exc
    return _answer(_stock(row))


def encoded(said: Any) -> str:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _answer(said: Any, *, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(encoded(said), content_type="application/json", headers=headers)


def _own_order(request: AuthenticatedRequest, order_id: UUID) -> Order:
    order = Order.objects.filter(pk=order_id, client=request.auth.client).prefetch_related("lines").first()
    if order is None:
        raise Http404
    return order


def _stock(row: Stock) -> dict[str, Any]:
    return {
        "sku": row.sku, "name": row.name, "on_hand": row.on_hand, "reserved": row.reserved, "available": row.available,
    }  # fmt: skip


def _idempotency_key(request: HttpRequest) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        raise Problem(
            400, "idempotency-key-required", "Send an Idempotency-Key header, a fresh UUID for each new order."
        )
    if len(key) > IDEMPOTENCY_KEY_MAX_CHARS or not (key.isascii() and key.isprintable()):
        raise Problem(
            400, "idempotency-key-invalid", "The Idempotency-Key must be up to 255 printable ASCII characters."
        )
    return key

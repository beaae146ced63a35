"""/v1/orders: placed, read, cancelled."""

from typing import Annotated
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from ninja import Body, Path, Query, Router
from pydantic import Field

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.etag import require_match, tag_of, tagged, with_tag
from api.conventions.idempotency import Done, once
from api.conventions.paging import (
    NOT_OURS,
    AfterEither,
    Limit,
    id_of,
    is_place_in_time,
    moment_and_id,
    place_of,
)
from api.conventions.prefer_wait import waited, watched
from api.own import locked_order, own_order
from api.shapes.headers import (
    APPLIED,
    ETAG,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    IN_PROGRESS,
    LOCATION,
    PREFER,
    REPLAYED,
    scoped,
)
from api.shapes.requests.orders import CancelRequest, OrderFilter
from api.shapes.responses import orders as shapes
from notifications import events
from notifications.models import Event
from orders import snapshots
from orders.inputs.order import OrderInput
from orders.inputs.particulars import OrderChange
from orders.models import Order
from orders.tasks import give_back, place
from values.refused import invalid
from values.texts import AnyText

router = Router(tags=["orders"])

CANCEL = CancelRequest()  # what a request without a body says
SEQ_MAX = 2**31 - 1


@router.post(
    "",
    summary="Place an order",
    response={202: snapshots.Order, 200: snapshots.Order},
    openapi_extra=scoped(
        "orders:write",
        IDEMPOTENCY_KEY,
        PREFER,
        headers=dict.fromkeys((200, 202), LOCATION | REPLAYED | APPLIED),
        conflict=(
            f"The external_id belongs to an earlier order (then with its Location), {IN_PROGRESS}."
        ),
    ),
)
def place_order(request: AuthenticatedRequest, body: Body[OrderInput]) -> HttpResponse:
    """Accepted, and worked off in the background. `Prefer: wait=N` holds the answer until the order
    is decided.
    """

    def accept() -> Done:
        order = place(request.auth.client, body)
        return 202, f"/v1/orders/{order.pk}", order.snapshot()

    return waited(request, once(request, body, accept))


@router.get(
    "",
    summary="List orders, newest first",
    response=shapes.OrderPage,
    openapi_extra=scoped("orders:read"),
)
def list_orders(
    request: AuthenticatedRequest,
    narrowed: Query[OrderFilter],
    limit: Limit = 20,
    after: AfterEither | None = None,
) -> HttpResponse:
    """`next` of a page is the `after` of the following one; null on the last.

    With `updated_after` or `updated_before`, those that changed longest ago come first, and a
    change is listed once nothing older can come: `updated_at` of the last one is a good
    `updated_after` for the next time.
    """
    orders = Order.objects.of(request.auth.client).narrowed(**narrowed.model_dump())
    if after is not None and is_place_in_time(after) != narrowed.is_by_change:
        raise invalid(("/query/after", NOT_OURS))
    if narrowed.is_by_change:
        orders = orders.by_change(moment_and_id(after) if after else None)
    else:
        orders = orders.newest_first(after)
    cursor = _change_of if narrowed.is_by_change else id_of
    found = orders.prefetch_related("lines")
    return answer(shapes.OrderPage.of(found, Order.snapshot, limit=limit, cursor=cursor))


def _change_of(order: Order) -> str:
    return place_of(order.updated_at, order.pk)


@router.get(
    "/{uuid:order_id}",
    summary="Read an order",
    response=snapshots.Order,
    openapi_extra=scoped(
        "orders:read", IF_NONE_MATCH, PREFER, headers={200: ETAG | APPLIED}, unchanged=True
    ),
)
def read_order(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    """`Prefer: wait=N` holds the answer until the order is decided or waits for its customer; with
    `If-None-Match`, until it is another than the one you know.
    """
    return watched(request, own_order(request, pk=order_id))


@router.patch(
    "/{uuid:order_id}",
    summary="Change whom an order is for, where it goes and what is noted of it",
    response=snapshots.Order,
    openapi_extra=scoped(
        "orders:write",
        IF_MATCH,
        headers={200: ETAG},
        conflict="Something is sent, and keeps its shipping address; or the customer was erased.",
    ),
)
def change_order(
    request: AuthenticatedRequest, order_id: UUID, body: Body[OrderChange]
) -> HttpResponse:
    """Its goods and its money stay as they are. What changes nothing, such as a repeat, is no new
    version, whatever it says in If-Match.
    """
    with transaction.atomic():
        order = locked_order(request, order_id)
        if order.news_in(body):
            require_match(request, tag_of(order))
        order.change(body)
    return with_tag(order)


@router.get(
    "/by-external/{rest:external_id}",
    summary="Read an order by the client's own id",
    response=snapshots.Order,
    openapi_extra=scoped("orders:read", IF_NONE_MATCH, headers={200: ETAG}, unchanged=True),
)
def read_order_by_external_id(
    request: AuthenticatedRequest, external_id: Path[AnyText]
) -> HttpResponse:
    """Percent-encode it; a slash may stay as it is."""
    return tagged(request, own_order(request, external_id=external_id))


@router.get(
    "/{uuid:order_id}/events",
    summary="Read what happened to an order",
    response=shapes.Timeline,
    openapi_extra=scoped("orders:read"),
)
def read_events(
    request: AuthenticatedRequest,
    order_id: UUID,
    limit: Limit = 100,
    after: Annotated[int, Field(ge=0, le=SEQ_MAX)] = 0,
) -> HttpResponse:
    """The oldest first, those after that `seq`. `next` of a page is the `after` of the following
    one.
    """
    order = own_order(request, pk=order_id)
    timeline = events.timeline(order.pk, after=after)
    return answer(shapes.Timeline.of(timeline, shapes.OrderEvent.of, limit=limit, cursor=_seq_of))


def _seq_of(event: Event) -> str:
    return str(event.seq)


@router.post(
    "/{uuid:order_id}/cancel",
    summary="Cancel an order",
    response={202: snapshots.Order},
    openapi_extra=scoped(
        "orders:write",
        headers={202: ETAG},
        conflict="The order has been completed: everything is sent.",
    ),
)
def cancel_order(
    request: AuthenticatedRequest, order_id: UUID, body: Body[CancelRequest] = CANCEL
) -> HttpResponse:
    """What is not sent goes back, goods and money; what was sent completes the order. One that was
    cancelled before stays as it is.
    """
    with transaction.atomic():
        order = locked_order(request, order_id)
        if not order.was_cancelled:
            give_back(order.cancel(body.reason))
    return with_tag(order, status=202)

"""/v1/orders/{id}/fulfilments: what is sent of an order, and what was booked as sent by mistake."""

from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from ninja import Body, Router

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.idempotency import Done, once
from api.own import locked_order, own_order
from api.shapes.headers import IDEMPOTENCY_KEY, IN_PROGRESS, LOCATION, REPLAYED, scoped
from api.shapes.requests.goods import FulfilmentRequest
from api.shapes.responses.orders import Fulfilments
from orders import snapshots
from orders.models import Fulfilment, named

router = Router(tags=["orders"])

FULFIL = FulfilmentRequest()  # what a request without a body says


@router.post(
    "/{uuid:order_id}/fulfilments",
    summary="Send goods of an order",
    response={201: snapshots.Fulfilment},
    openapi_extra=scoped(
        "fulfil:write",
        IDEMPOTENCY_KEY,
        headers={201: LOCATION | REPLAYED},
        conflict=f"The order is held or not confirmed, {IN_PROGRESS}.",
    ),
)
def fulfil_order(
    request: AuthenticatedRequest, order_id: UUID, body: Body[FulfilmentRequest] = FULFIL
) -> HttpResponse:
    """All that is open, or the lines that are named. When everything has been sent, the order is
    completed.
    """

    def ship() -> Done:
        order = locked_order(request, order_id)
        units = None if body.lines is None else named(order.own_lines, body.lines)
        sent = Fulfilment.objects.ship(order, units, carrier=body.carrier, tracking=body.tracking)
        return 201, f"/v1/orders/{order_id}/fulfilments", sent.snapshot()

    return once(request, body, ship)


@router.get(
    "/{uuid:order_id}/fulfilments",
    summary="Read what was sent of an order",
    response=Fulfilments,
    openapi_extra=scoped("orders:read"),
)
def read_fulfilments(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    sent = own_order(request, pk=order_id).fulfilments.order_by("pk")
    return answer(Fulfilments(data=[fulfilment.snapshot() for fulfilment in sent]))


@router.post(
    "/{uuid:order_id}/fulfilments/{uuid:fulfilment_id}/cancel",
    summary="Take back a fulfilment that was booked by mistake",
    response=snapshots.Fulfilment,
    openapi_extra=scoped(
        "fulfil:write",
        conflict=(
            "Something of it has come back, is announced to, or was paid back; "
            "or the customer was erased from the order."
        ),
    ),
)
def cancel_fulfilment(
    request: AuthenticatedRequest, order_id: UUID, fulfilment_id: UUID
) -> HttpResponse:
    """Its goods never left: they are to be sent again, and an order that was completed with them
    goes on. One that was cancelled before stays as it is.
    """
    with transaction.atomic():
        order = locked_order(request, order_id)
        booked = get_object_or_404(order.fulfilments, pk=fulfilment_id)
        booked.cancel()
    return answer(booked.snapshot())

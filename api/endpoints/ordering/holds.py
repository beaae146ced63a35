"""/v1/orders/{id}/hold and /release: an order waits for a person."""

from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from ninja import Body, Router

from api.auth import AuthenticatedRequest
from api.conventions.etag import with_tag
from api.own import locked_order
from api.shapes.headers import ETAG, scoped
from api.shapes.requests.orders import HoldRequest
from orders import snapshots
from orders.tasks import go_on
from values.refused import Refused

router = Router(tags=["orders"])

HOLD = HoldRequest()  # what a request without a body says


@router.post(
    "/{uuid:order_id}/hold",
    summary="Put an order on hold",
    response=snapshots.Order,
    openapi_extra=scoped(
        "orders:write", headers={200: ETAG}, conflict="The order is completed or cancelled."
    ),
)
def hold_order(
    request: AuthenticatedRequest, order_id: UUID, body: Body[HoldRequest] = HOLD
) -> HttpResponse:
    """It is neither charged, sent nor expired until it is released. The customer is told by mail,
    then too, when the reason is `address_unclear` or `delayed`; any other is the staff's own.
    """
    with transaction.atomic():
        order = locked_order(request, order_id)
        if order.has_ended:
            raise Refused(
                "order-has-ended",
                f"Order {order.number} is {order.state}; there is nothing to hold.",
            )
        order.hold(body.reason)
    return with_tag(order)


@router.post(
    "/{uuid:order_id}/release",
    summary="Release an order",
    response=snapshots.Order,
    openapi_extra=scoped("orders:write", headers={200: ETAG}),
)
def release_order(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    """It goes on where it stood."""
    with transaction.atomic():
        order = locked_order(request, order_id)
        if order.held:
            order.release()
            go_on(order)
    return with_tag(order)

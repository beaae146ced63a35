"""What a client does to an order that it has placed: cancel, fulfil, refund, hold, release. HTTP stays here."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from ninja import Body, Router

from orders import shown
from orders.answers import AuthenticatedRequest, Done, answer, locked_order, once, own_order, tag_of
from orders.described import ETAG, IDEMPOTENCY_KEY, IN_PROGRESS, LOCATION, REPLAYED, described
from orders.fulfilments import Fulfilment
from orders.models import Order
from orders.problems import Problem
from orders.refunds import Refund
from orders.schemas import CancelDraft, FulfilmentDraft, HoldDraft, RefundDraft
from orders.tasks import go_on, pay_back

router = Router(tags=["orders"])

CANCEL, FULFIL, HOLD = CancelDraft(), FulfilmentDraft(), HoldDraft()  # what a request without a body says


@router.post(
    "/{uuid:order_id}/cancel",
    summary="Cancel an order",
    response={202: shown.Order},
    openapi_extra=described(
        "orders:write", headers={202: ETAG}, conflict="The order is sent in part, or has been completed."
    ),
)
def cancel_order(request: AuthenticatedRequest, order_id: UUID, draft: Body[CancelDraft] = CANCEL) -> HttpResponse:
    """What was paid goes back by itself. An order that is cancelled already stays as it is."""
    with transaction.atomic():
        order = locked_order(request, order_id)
        if order.state != "cancelled":
            pay_back(order.cancel(draft.reason))
    return _shown(order, status=202)


@router.post(
    "/{uuid:order_id}/fulfilments",
    summary="Send goods of an order",
    response={201: shown.Fulfilment},
    openapi_extra=described(
        "fulfil:write", IDEMPOTENCY_KEY, headers={201: LOCATION | REPLAYED},
        conflict=f"The order is held or not confirmed, {IN_PROGRESS}.",
    ),
)  # fmt: skip
def fulfil_order(request: AuthenticatedRequest, order_id: UUID, draft: Body[FulfilmentDraft] = FULFIL) -> HttpResponse:
    """All that is open, or the lines that are named. When everything has been sent, the order is completed."""

    def ship() -> Done:
        order = locked_order(request, order_id)
        sent = Fulfilment.objects.ship(order, draft.wanted(), carrier=draft.carrier, tracking=draft.tracking)
        sent.refresh_from_db(fields=["created_at"])
        return 201, f"/v1/orders/{order_id}/fulfilments", sent.snapshot()

    return once(request, draft, ship)


@router.get(
    "/{uuid:order_id}/fulfilments",
    summary="Read what was sent of an order",
    response=shown.Fulfilments,
    openapi_extra=described("orders:read"),
)
def read_fulfilments(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    sent = own_order(request, pk=order_id).fulfilments.order_by("pk")
    return answer({"data": [fulfilment.snapshot() for fulfilment in sent]})


@router.post(
    "/{uuid:order_id}/refunds",
    summary="Give money back",
    response={202: shown.Refund},
    openapi_extra=described(
        "refunds:write", IDEMPOTENCY_KEY, headers={202: LOCATION | REPLAYED},
        conflict=f"The order has no money left to give back, {IN_PROGRESS}.",
    ),
)  # fmt: skip
def refund_order(request: AuthenticatedRequest, order_id: UUID, draft: Body[RefundDraft]) -> HttpResponse:
    """An amount, the lines that are named, or all that is left; `restock` takes the goods back too."""

    def promise() -> Done:
        order = locked_order(request, order_id)
        refund = Refund.objects.promise(
            order, reason=draft.reason, amount=draft.amount, wanted=draft.wanted(), restock=draft.restock
        )
        pay_back(refund)
        refund.refresh_from_db(fields=["created_at"])
        return 202, f"/v1/orders/{order_id}/refunds", refund.snapshot()

    return once(request, draft, promise)


@router.get(
    "/{uuid:order_id}/refunds",
    summary="Read what became of an order's refunds",
    response=shown.Refunds,
    openapi_extra=described("orders:read"),
)
def read_refunds(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    refunds = own_order(request, pk=order_id).refunds.select_related("operation").order_by("pk")
    return answer({"data": [refund.snapshot() for refund in refunds]})


@router.post(
    "/{uuid:order_id}/hold",
    summary="Put an order on the desk",
    response=shown.Order,
    openapi_extra=described("orders:write", headers={200: ETAG}, conflict="The order is completed or cancelled."),
)
def hold_order(request: AuthenticatedRequest, order_id: UUID, draft: Body[HoldDraft] = HOLD) -> HttpResponse:
    """It is neither charged, sent nor expired until it is released."""
    with transaction.atomic():
        order = locked_order(request, order_id)
        if order.has_ended:
            raise Problem(409, "order-has-ended", f"Order {order.number} is {order.state}; there is nothing to hold.")
        order.hold(draft.reason)
    return _shown(order)


@router.post(
    "/{uuid:order_id}/release",
    summary="Take an order off the desk",
    response=shown.Order,
    openapi_extra=described("orders:write", headers={200: ETAG}),
)
def release_order(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    """It goes on where it stood."""
    with transaction.atomic():
        order = locked_order(request, order_id)
        if order.held:
            order.release()
            go_on(order)
    return _shown(order)


def _shown(order: Order, *, status: int = 200) -> HttpResponse:
    snapshot: dict[str, Any] = order.snapshot()
    return answer(snapshot, status=status, headers={"ETag": tag_of(order)})

"""/v1/orders/{id}/returns: sent goods that come back."""

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
from api.shapes.requests.goods import ReceiveRequest, ReturnRequest
from api.shapes.responses.orders import Returns
from orders import snapshots
from orders.models import Came, Order, Return, named
from orders.tasks import give_back

router = Router(tags=["orders"])

RETURN, RECEIVE = ReturnRequest(), ReceiveRequest()  # what a request without a body says


@router.post(
    "/{uuid:order_id}/returns",
    summary="Announce goods that come back",
    response={201: snapshots.Return},
    openapi_extra=scoped(
        "refunds:write",
        IDEMPOTENCY_KEY,
        headers={201: LOCATION | REPLAYED},
        conflict=f"The customer has nothing of the order, it has too many returns, {IN_PROGRESS}.",
    ),
)
def announce_return(
    request: AuthenticatedRequest, order_id: UUID, body: Body[ReturnRequest] = RETURN
) -> HttpResponse:
    """Units of the lines that are named, or all that the customer has. No goods and no money move
    yet.
    """

    def announce() -> Done:
        order = locked_order(request, order_id)
        units = None if body.lines is None else named(order.own_lines, body.lines)
        announced = Return.objects.announce(order, units, reason=body.reason)
        return 201, f"/v1/orders/{order_id}/returns", announced.snapshot()

    return once(request, body, announce)


@router.get(
    "/{uuid:order_id}/returns",
    summary="Read what became of an order's returns",
    response=Returns,
    openapi_extra=scoped("orders:read"),
)
def read_returns(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    order = own_order(request, pk=order_id)
    returns = order.returns.select_related("refund__operation").order_by("pk")
    return answer(Returns(data=[each.snapshot() for each in returns]))


@router.post(
    "/{uuid:order_id}/returns/{uuid:return_id}/receive",
    summary="Say what of a return has arrived",
    response=snapshots.Return,
    openapi_extra=scoped(
        "refunds:write",
        IDEMPOTENCY_KEY,
        headers={200: REPLAYED},
        conflict=f"The return was received or cancelled before, {IN_PROGRESS}.",
    ),
)
def receive_return(
    request: AuthenticatedRequest,
    order_id: UUID,
    return_id: UUID,
    body: Body[ReceiveRequest] = RECEIVE,
) -> HttpResponse:
    """All of it, or the units that are named; what does not `restock` is not sold again. Their
    money goes back, or so much of it as `amount` says, and so much of the `shipping`.
    """

    def receive() -> Done:
        order = locked_order(request, order_id)
        come = get_object_or_404(order.returns, pk=return_id)
        come.receive(_came(order, body), amount=body.amount, shipping=body.shipping or 0)
        give_back(come.refund)
        return 200, None, come.snapshot()

    return once(request, body, receive)


@router.post(
    "/{uuid:order_id}/returns/{uuid:return_id}/cancel",
    summary="Cancel a return",
    response=snapshots.Return,
    openapi_extra=scoped("refunds:write", conflict="The return was received."),
)
def cancel_return(request: AuthenticatedRequest, order_id: UUID, return_id: UUID) -> HttpResponse:
    """Its goods stay with the customer. One that was cancelled before stays as it is."""
    with transaction.atomic():
        order = locked_order(request, order_id)
        called_off = get_object_or_404(order.returns, pk=return_id)
        called_off.cancel()
    return answer(called_off.snapshot())


def _came(order: Order, body: ReceiveRequest) -> list[Came] | None:
    if body.lines is None:
        return None
    units = zip(named(order.own_lines, body.lines), body.lines, strict=True)
    return [Came(line, number, unit.restock) for (line, number), unit in units]

"""/v1/orders/{id}/refunds: money that goes back."""

from uuid import UUID

from django.http import HttpResponse
from ninja import Body, Router

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.idempotency import Done, once
from api.own import locked_order, own_order
from api.shapes.headers import IDEMPOTENCY_KEY, IN_PROGRESS, LOCATION, REPLAYED, scoped
from api.shapes.requests.goods import RefundRequest
from api.shapes.responses.orders import Refunds
from orders import snapshots
from orders.models import Asked, Refund, named
from orders.tasks import give_back

router = Router(tags=["orders"])


@router.post(
    "/{uuid:order_id}/refunds",
    summary="Give money back",
    response={202: snapshots.Refund},
    openapi_extra=scoped(
        "refunds:write",
        IDEMPOTENCY_KEY,
        headers={202: LOCATION | REPLAYED},
        conflict=f"The order has no money left to give back, {IN_PROGRESS}.",
    ),
)
def refund_order(
    request: AuthenticatedRequest, order_id: UUID, body: Body[RefundRequest]
) -> HttpResponse:
    """An amount, lines that are named, so much of the shipping, or all that is left; `restock`
    takes the goods back too.
    """

    def promise() -> Done:
        order = locked_order(request, order_id)
        units = None if body.lines is None else named(order.own_lines, body.lines)
        asked = Asked(body.amount, units, body.restock, body.shipping or 0)
        refund = Refund.objects.promise(order, asked, reason=body.reason)
        give_back(refund)
        return 202, f"/v1/orders/{order_id}/refunds", refund.snapshot()

    return once(request, body, promise)


@router.get(
    "/{uuid:order_id}/refunds",
    summary="Read what became of an order's refunds",
    response=Refunds,
    openapi_extra=scoped("orders:read"),
)
def read_refunds(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    refunds = own_order(request, pk=order_id).refunds.select_related("operation").order_by("pk")
    return answer(Refunds(data=[refund.snapshot() for refund in refunds]))

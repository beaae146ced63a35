"""An order and its ETag: whoever knows the version is told that nothing has changed."""

from django.http import HttpResponse
from django.utils.http import parse_etags

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from orders.models import Order
from orders.states import PaymentState, State


def tagged(request: AuthenticatedRequest, order: Order) -> HttpResponse:
    """The order with its ETag, or a 304 for whoever knows that version."""
    tag = tag_of(order)
    asked = parse_etags(request.headers.get("If-None-Match", ""))
    if "*" in asked or tag in [
        etag.removeprefix("W/") for etag in asked
    ]:  # gzip on the way weakens a tag
        return HttpResponse(status=304, headers={"ETag": tag})
    return answer(order.snapshot(), headers={"ETag": tag})


def tag_of(order: Order) -> str:
    """The version; and with it the money that is under way, which the order shows and no event has
    told of yet.
    """
    waits = order.payment_state in (PaymentState.PENDING, PaymentState.ACTION_REQUIRED)
    if order.refund_pending or (waits and order.state == State.CANCELLED):
        return f'"{order.version}-{order.payment_state}-{order.refund_pending}"'
    return f'"{order.version}"'


def with_tag(order: Order, *, status: int = 200) -> HttpResponse:
    """The order as it is now, after it was changed."""
    return answer(order.snapshot(), status=status, headers={"ETag": tag_of(order)})

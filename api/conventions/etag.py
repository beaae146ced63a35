"""An order and its ETag: whoever knows the version is told that nothing has changed."""

from django.http import HttpResponse
from django.utils.http import parse_etags

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from orders.models import Order


def tagged(request: AuthenticatedRequest, order: Order) -> HttpResponse:
    """The order with its ETag, or a 304 for whoever knows that version."""
    tag = tag_of(order)
    if is_known(request, order):
        return HttpResponse(status=304, headers={"ETag": tag})
    return answer(order.snapshot(), headers={"ETag": tag})


def is_known(request: AuthenticatedRequest, order: Order) -> bool:
    """Whether whoever asks has this version already."""
    asked = parse_etags(request.headers.get("If-None-Match", ""))
    # gzip on the way weakens a tag
    return "*" in asked or tag_of(order) in [etag.removeprefix("W/") for etag in asked]


def tag_of(order: Order) -> str:
    """Its version: nothing of an order changes without one more."""
    return f'"{order.version}"'


def with_tag(order: Order, *, status: int = 200) -> HttpResponse:
    """The order as it is now, after it was changed."""
    return answer(order.snapshot(), status=status, headers={"ETag": tag_of(order)})

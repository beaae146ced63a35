"""An order and its ETag: whoever knows the version is told that nothing has changed, and changes
nothing that they have not seen.
"""

from django.http import HttpResponse
from django.utils.http import parse_etags

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from orders.models import Order
from values.refused import Refused


def tagged(request: AuthenticatedRequest, order: Order) -> HttpResponse:
    """The order with its ETag, or a 304 for whoever knows that version."""
    tag = tag_of(order)
    if _names(request.headers.get("If-None-Match", ""), tag):
        return HttpResponse(status=304, headers={"ETag": tag})
    return answer(order.snapshot(), headers={"ETag": tag})


def require_match(request: AuthenticatedRequest, order: Order) -> None:
    """Raise a 412 problem when the request's If-Match, if there is one, names another version of
    this locked order.
    """
    asked = request.headers.get("If-Match")
    if asked is not None and not _names(asked, tag_of(order)):
        raise Refused(
            "changed-meanwhile", f"Order {order.number} is at version {order.version} by now."
        )


def _names(header: str, tag: str) -> bool:
    asked = parse_etags(header)  # gzip on the way weakens a tag
    return "*" in asked or tag in [etag.removeprefix("W/") for etag in asked]


def tag_of(order: Order) -> str:
    """Its version: nothing of an order changes without one more."""
    return f'"{order.version}"'


def with_tag(order: Order, *, status: int = 200) -> HttpResponse:
    """The order as it is now, after it was changed."""
    return answer(order.snapshot(), status=status, headers={"ETag": tag_of(order)})

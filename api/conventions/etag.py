"""What a thing was when somebody read it: whoever knows an order's version is told that nothing has
changed, and whoever changes what is no longer so is refused.
"""

import hashlib

from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_etags

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from orders.models import Order
from values.refused import Refused


def tagged(request: AuthenticatedRequest, order: Order) -> HttpResponse:
    """The order with its ETag, or a 304 for whoever knows that version."""
    tag = tag_of(order)
    if is_known(request, order):
        return HttpResponse(status=304, headers={"ETag": tag})
    return answer(order.snapshot(), headers={"ETag": tag})


def is_known(request: AuthenticatedRequest, order: Order) -> bool:
    """Whether whoever asks has this version already."""
    return _names(request.headers.get("If-None-Match", ""), tag_of(order))


def _names(header: str, tag: str) -> bool:
    asked = parse_etags(header)  # gzip on the way weakens a tag
    return "*" in asked or tag in [etag.removeprefix("W/") for etag in asked]


def tag_of(order: Order) -> str:
    """Its version: nothing of an order changes without one more."""
    return f'"{order.version}"'


def with_tag(order: Order, *, status: int = 200) -> HttpResponse:
    """The order as it is now, after it was changed."""
    return answer(order.snapshot(), status=status, headers={"ETag": tag_of(order)})


def tag_of_content(encoded: str) -> str:
    """Of what has no version: the same for the same content."""
    return f'"{hashlib.blake2b(encoded.encode(), digest_size=8).hexdigest()}"'


def require_match(request: HttpRequest, tag: str | None) -> None:
    """Raises a 412 problem when the request is about what is not so any more (If-Match), or not
    there: then `tag` is None.
    """
    asked = request.headers.get("If-Match")
    if asked is not None and (tag is None or not _names(asked, tag)):
        now = f"its ETag is {tag}" if tag else "it is not there"
        raise Refused("precondition-failed", f"If-Match does not match: {now}.")

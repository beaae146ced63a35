"""/v1/events: what webhooks tell, for those who ask for it."""

from uuid import UUID

from django.http import HttpResponse
from ninja import Query, Router

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.paging import NOT_OURS, AfterId, Limit, id_of
from api.shapes.headers import scoped
from api.shapes.requests.webhooks import EventFilter
from api.shapes.responses import webhooks as shapes
from notifications import events
from notifications.models import Event
from notifications.models.event import EVERYBODYS
from values.refused import invalid

router = Router(tags=["webhooks"])

OF_STOCK = "stock:read"  # without it a key sees nothing of the stock here either


@router.get(
    "",
    summary="List what happened, as webhooks tell it",
    response=shapes.EventPage,
    openapi_extra=scoped("orders:read"),
)
def list_events(
    request: AuthenticatedRequest,
    narrowed: Query[EventFilter],
    limit: Limit = 100,
    after: AfterId | None = None,
) -> HttpResponse:
    """Those first that were recorded first, and each once nothing older can come: none is missed.

    `after` is the `id` of the last event that you have; `next` of a page is the `after` of the
    following one, and null on the last. Each event comes once, and an erased person is in none.
    """
    kinds = _kinds(request, narrowed.kinds)
    try:
        found = events.feed(
            request.auth.client_id,
            kinds,
            after=UUID(after) if after else None,
            since=narrowed.since,
            limit=limit + 1,
        )
    except Event.DoesNotExist:
        raise invalid(("/query/after", NOT_OURS)) from None
    return answer(shapes.EventPage.of(found, shapes.ToldEvent.of, limit=limit, cursor=id_of))


def _kinds(request: AuthenticatedRequest, asked: list[str]) -> list[str]:
    """All that the key may see, unless some are asked for. Raises a 403 problem for others."""
    if not asked:
        sees_stock = OF_STOCK in request.auth.scopes
        return [kind for kind in events.KINDS if sees_stock or kind not in EVERYBODYS]
    if set(asked) & set(EVERYBODYS):
        request.auth.require(OF_STOCK)
    return asked

"""/v1/shop: how a client's shop is called where its customers read, and how it does business."""

from django.db import transaction
from django.http import HttpResponse
from ninja import Body, Router

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer, encoded
from api.conventions.etag import require_match, tag_of_content
from api.shapes.headers import CONTENT_TAG, IF_MATCH, scoped
from api.shapes.responses import shop as shapes
from notifications.models import Shop
from values.shop import ShopSaid

router = Router(tags=["shop"])


@router.get(
    "",
    summary="Read your shop's settings",
    response=shapes.Shop,
    openapi_extra=scoped("shop:read", headers={200: CONTENT_TAG}),
)
def read_shop(request: AuthenticatedRequest) -> HttpResponse:
    """As they hold: `of_the_installation` names those that you have not set yourself."""
    return _tagged(request)


@router.patch(
    "",
    summary="Change your shop's settings",
    response=shapes.Shop,
    openapi_extra=scoped("shop:write", IF_MATCH, headers={200: CONTENT_TAG}),
)
def change_shop(request: AuthenticatedRequest, change: Body[ShopSaid]) -> HttpResponse:
    """What is named is set, null leaves it to the installation again, and what is not named stays.
    It holds for mails and pages from now on, and for orders that are reserved from now on.
    """
    with transaction.atomic():
        own = Shop.objects.locked(request.auth.client_id)
        require_match(request, _tagged(request)["ETag"])
        own.change(change.model_dump(exclude_unset=True))
    return _tagged(request)


def _tagged(request: AuthenticatedRequest) -> HttpResponse:
    shop = shapes.Shop.of(Shop.objects.of(request.auth.client_id))
    return answer(shop, headers={"ETag": tag_of_content(encoded(shop))})

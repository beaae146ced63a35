"""Who asks: a key of a client, its scopes, and how often it may ask."""

from django.conf import settings
from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.security import HttpBearer

from api.conventions.rate_limit import STANDING, RateLimit
from celery_ledger import context
from orders.models import ApiKey
from values.refused import Refused


class AuthenticatedRequest(HttpRequest):
    """What ninja hands to an operation behind a key."""

    auth: ApiKey


class Key(HttpBearer):
    """Authorization: Bearer <key> of this scope. The ApiKey becomes `request.auth`, its client part
    of the context.

    Asked before anything of the body is looked at.
    """

    # of this process
    limit = RateLimit(settings.RATE_LIMIT_PER_MINUTE, 60, keys_max=settings.RATE_LIMIT_KEYS_MAX)

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> ApiKey | None:
        key = ApiKey.objects.find(token)
        if key is None:
            return None
        context.learn(client=str(key.client_id))
        standing = self.limit.take(key.pk)
        request.META[STANDING] = standing
        if standing.retry_after_s:
            detail = f"A key may make {standing.quota} requests in {standing.window_s} s."
            raise Refused("rate-limited", detail, retry_after_s=standing.retry_after_s)
        key.require(self.scope)
        key.note_use()
        return key


def ask_for_scopes(api: NinjaAPI) -> None:
    """Each operation asks for a key of the scope that its description names (`x-scope`), unless it
    has `auth=None`.
    """
    for router in api._get_bound_routers():
        for view in router.path_operations.values():
            for operation in view.operations:
                if operation.auth_callbacks:
                    operation.auth_callbacks = [Key((operation.openapi_extra or {})["x-scope"])]

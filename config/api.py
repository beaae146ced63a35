"""The API put together: keys, the strict parser, problems, and the routers of the apps."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.parser import Parser
from ninja.security import HttpBearer

from config import problems
from config.openapi import DESCRIPTION, DescribedAPI
from config.rate_limit import STANDING, RateLimit
from jobs import context
from jobs.api import router as jobs_router
from notifications.api import router as endpoints_router
from notifications.verbs import router as endpoint_verbs_router
from orders.api import router as orders_router
from orders.api import stock_router
from orders.clients import ApiKey
from orders.imports.api import router as imports_router
from orders.payments.api import router as payments_router
from orders.problems import Problem
from orders.reports.api import router as reports_router
from orders.verbs import router as verbs_router
from values import strict_json


class StrictParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        """Raises NotJson, or Problem. A body that does not say what it is, is taken for JSON."""
        kind = request.content_type or "application/json"
        charset = (request.content_params or {}).get("charset", "utf-8").lower()
        if not (kind == "application/json" or kind.endswith("+json")) or charset not in ("utf-8", "utf8"):
            detail = f"Send JSON in UTF-8 and say so with -H 'Content-Type: application/json'; this came as {kind}."
            raise Problem(415, "unsupported-media-type", detail)
        if (coding := request.headers.get("Content-Encoding", "identity")).lower() != "identity":
            raise Problem(415, "unsupported-media-type", f"Send the body as it is; this came coded as {coding}.")
        return strict_json.parse(request.body)


class Key(HttpBearer):
    """Authorization: Bearer <key> of this scope. The ApiKey becomes `request.auth`, its client part of the context.

    Asked before anything of the body is looked at.
    """

    limit = RateLimit(settings.RATE_LIMIT_PER_MINUTE, 60, keys_max=settings.RATE_LIMIT_KEYS_MAX)  # of this process

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
            raise Problem(429, "rate-limited", detail, headers={"Retry-After": str(standing.retry_after_s)})
        key.require(self.scope)
        return key


def ask_for_scopes(api: NinjaAPI) -> None:
    """Each operation asks for a key of the scope that its description names (`x-scope`), unless it has `auth=None`."""
    for router in api._get_bound_routers():
        for view in router.path_operations.values():
            for operation in view.operations:
                if operation.auth_callbacks:
                    operation.auth_callbacks = [Key((operation.openapi_extra or {})["x-scope"])]


api = DescribedAPI(
    title="Kaiten", version="1", description=DESCRIPTION, parser=StrictParser(), auth=Key(""), docs_url=None
)
api.add_router("/orders", orders_router)
api.add_router("/orders", verbs_router)
api.add_router("/stock", stock_router)
api.add_router("/imports", imports_router)
api.add_router("/payments", payments_router)
api.add_router("/reports", reports_router)
api.add_router("/jobs", jobs_router)
api.add_router("/webhook-endpoints", endpoints_router)
api.add_router("/webhook-endpoints", endpoint_verbs_router)
ask_for_scopes(api)
problems.install(api)

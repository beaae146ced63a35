"""The API put together: the strict parser, keys, problems, and the routers of the endpoints."""

from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

from api.auth import Key, ask_for_scopes
from api.conventions.query import query_of, refuse_unknown_parameters
from api.endpoints import (
    customers,
    deliveries,
    events,
    exports,
    imports,
    jobs,
    payment_events,
    reports,
    shop,
    webhook_endpoints,
)
from api.endpoints.ordering import fulfilments, holds, orders, payments, refunds, returns
from api.endpoints.stock import levels, movements
from api.openapi import DESCRIPTION, DescribedAPI
from api.problems import handlers
from values import strict_json
from values.refused import Refused


class StrictParser(Parser):
    def parse_querydict(
        self, data: Any, list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        return super().parse_querydict(query_of(request), list_fields, request)

    def parse_body(self, request: HttpRequest) -> Any:
        """Raises NotJson, or Refused. A body that does not say what it is, is taken for JSON."""
        kind = request.content_type or "application/json"
        charset = (request.content_params or {}).get("charset", "utf-8").lower()
        is_json = kind == "application/json" or kind.endswith("+json")
        if not is_json or charset not in ("utf-8", "utf8"):
            detail = (
                "Send JSON in UTF-8 and say so with -H 'Content-Type: application/json'; "
                f"this came as {kind}."
            )
            raise Refused("unsupported-media-type", detail)
        if (coding := request.headers.get("Content-Encoding", "identity")).lower() != "identity":
            detail = f"Send the body as it is; this came coded as {coding}."
            raise Refused("unsupported-media-type", detail)
        return strict_json.parse(request.body)


api = DescribedAPI(
    title="Kaiten",
    version="1",
    description=DESCRIPTION,
    parser=StrictParser(),
    auth=Key(""),
    docs_url=None,
    openapi_url=None,
)
api.add_router("/orders", orders.router)
api.add_router("/orders", fulfilments.router)
api.add_router("/orders", payments.router)
api.add_router("/orders", refunds.router)
api.add_router("/orders", returns.router)
api.add_router("/orders", holds.router)
api.add_router("/customers", customers.router)
api.add_router("/shop", shop.router)
api.add_router("/stock", levels.router)
api.add_router("/stock-movements", movements.router)
api.add_router("/imports", imports.router)
api.add_router("/exports", exports.router)
api.add_router("/payments", payment_events.router)
api.add_router("/reports", reports.router)
api.add_router("/jobs", jobs.router)
api.add_router("/events", events.router)
api.add_router("/webhook-endpoints", webhook_endpoints.router)
api.add_router("/webhook-endpoints", deliveries.router)
ask_for_scopes(api)
refuse_unknown_parameters(api)
handlers.install(api)

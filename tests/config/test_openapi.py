"""The description of the API is true: schemathesis sends what it allows and what it forbids, with all its checks.

In this process, bounded and derandomized: the same few hundred requests on every run, in well under a minute.
"""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection

from config.api import api as described_api
from config.wsgi import application
from jobs.models import Job
from notifications import tasks
from notifications.models import Endpoint
from orders.api import place
from orders.clients import SCOPES, ApiKey, Client
from orders.imports.models import Import
from orders.imports.reading import Format, Row
from orders.schemas import EXAMPLE, OrderDraft
from tests.conftest import Api

EXAMPLES = 15  # of each endpoint, besides the systematic ones
CONFIG = {
    "generation": {"deterministic": True, "max-examples": EXAMPLES, "database": "none", "allow-x00": False},
    "checks": {
        # sums, skus and states are beyond a schema: what it allows may still be refused with 422 or 409
        "positive_data_acceptance": {"expected-statuses": ["2xx", "304", "401", "403", "404", "409", "422"]},
    },
}
schema = schemathesis.openapi.from_wsgi("/v1/openapi.json", application, config=SchemathesisConfig.from_dict(CONFIG))
Known = dict[str, Any]


@schemathesis.serializer("text/csv", "application/x-ndjson")
def as_it_is(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@pytest.fixture
def known(shop: Client, stock: Any, order_body: Callable[..., Any]) -> Known:
    """What exists: a key, and ids that lead somewhere."""
    stock()
    with transaction.atomic():
        order = place(shop, OrderDraft.model_validate(order_body(external_id="a/b")))
    endpoint = Endpoint.objects.create(owner=shop.pk, url="https://example.com/hook", events=["*"])
    with transaction.atomic():
        delivery = tasks.test(endpoint.pk)
    job = Job.objects.get(task="orders.tasks.reserve")
    Job.objects.update(context={"client": str(shop.pk)})
    return {
        "key": ApiKey.objects.issue(shop, []), "order_id": str(order.pk), "external_id": "a/b",
        "import_id": str(imported(shop).pk), "day": timezone.localdate().isoformat(),
        "sku": "SAKE-NIGIRI", "endpoint_id": str(endpoint.pk), "delivery_id": str(delivery.pk), "job_id": str(job.pk),
        "tries": itertools.count(),
    }  # fmt: skip


def imported(shop: Client) -> Import:
    with transaction.atomic():
        return Import.objects.accept(shop, [Row(1, said=json.dumps(EXAMPLE))], form=Format.NDJSON)


@pytest.mark.django_db(transaction=True)
@schema.parametrize()
@settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_described_and_none_is_a_5xx(case: schemathesis.Case, known: Known) -> None:
    path = case.meta.components.get(ParameterLocation.PATH) if case.meta else None
    if path and path.mode.is_positive and next(known["tries"]) % 4:
        case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
    # the key is sent also where the case is one of a wrong key: then it may be taken
    keyed = (case.headers or {}).get("Authorization", "").startswith("Bearer ")
    excluded = [] if keyed else [negative_data_rejection]
    case.call_and_validate(headers={"Authorization": f"Bearer {known['key']}"}, excluded_checks=excluded)


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    paths: dict[str, dict[str, Any]] = described_api.get_openapi_schema()["paths"]
    return [(method, path, told) for path, methods in paths.items() for method, told in methods.items()]


BODIES = {  # where a body is checked before the key's scope
    "place_order": EXAMPLE, "count_stock": {"on_hand": 1}, "adjust_stock": {"delta": 1, "reason": "x"},
    "refund_order": {"reason": "x"}, "replay_deliveries": {"since": "2026-01-31T09:00:00+09:00"},
    "create_endpoint": {"url": "https://example.com/hook", "events": ["*"]},
}  # fmt: skip


CSV = "external_id,currency,email,sku,name,quantity,unit_price,total,token\nx,JPY,a@b.co,SAKE-NIGIRI,,1,300,300,tok_ok"


def body_of(told: dict[str, Any]) -> tuple[str, str]:
    """A body that is taken, and its kind."""
    if "text/csv" in told.get("requestBody", {}).get("content", {}):
        return CSV, "text/csv"
    return json.dumps(BODIES.get(told["operationId"], {})), "application/json"


@pytest.mark.django_db(transaction=True)
def test_every_endpoint_needs_the_scope_that_its_description_names(known: Known, shop: Client) -> None:
    for method, path, told in sorted(operations(), key=lambda one: one[0] == "delete"):  # the others still need it
        if not told["security"]:
            assert path == "/v1/payments/{provider}/events", "open to everybody"
            continue
        [[scope]] = told["security"][0].values()
        answers = [
            Api(ApiKey.objects.issue(shop, scopes)).generic(
                method, path.format(**known), *body_of(told), headers={"Idempotency-Key": told["operationId"]},
            )
            for scopes in ([one for one in SCOPES if one != scope], [scope])
        ]  # fmt: skip
        lacking, having = answers
        assert (lacking.status_code, lacking.json()["type"]) == (403, "/problems/missing-scope"), (method, path)
        assert scope in lacking.json()["detail"]
        assert having.status_code in (200, 201, 202, 204, 409), (method, path, having.content)


def test_the_description_is_3_1_and_names_each_shape_once() -> None:
    document = described_api.get_openapi_schema()
    assert document["openapi"].startswith("3.1.")
    ids = [told["operationId"] for _, _, told in operations()]
    assert len(ids) == len(set(ids))
    assert all(told["summary"] and told["tags"] for _, _, told in operations())
    assert document["components"]["securitySchemes"]["Key"] == {"type": "http", "scheme": "bearer"}

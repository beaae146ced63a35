"""A shop in which every id of the API's description leads somewhere, for tests of all its
operations.
"""

import itertools
import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from django.db import transaction
from django.utils import timezone

from api.app import api as described_api
from celery_ledger.models import Job
from celery_ledger.testing import work_off
from notifications import interventions
from notifications.models import Endpoint
from orders.exports.models import Export
from orders.imports.files.lines import Row
from orders.imports.files.reading import Format, Manner
from orders.imports.models import Import
from orders.inputs.order import EXAMPLE, OrderInput
from orders.models import ApiKey, Client, Erasure
from orders.tasks import place
from tests.shop import Api, post

Existing = dict[str, Any]


@pytest.fixture
def existing(shop: Client, stock: Any, order_body: Callable[..., Any], settings: Any) -> Existing:
    """What exists: a key, and ids that lead somewhere."""
    settings.PREFER_WAIT_MAX_S = 0  # nobody works here, so nothing is decided
    stock()
    with transaction.atomic():
        order = place(shop, OrderInput.model_validate(order_body(external_id="a/b")))
    work_off()
    key = ApiKey.objects.issue(shop, [])
    send_and_take_back_a_part(Api(key), f"/v1/orders/{order.pk}")
    endpoint = Endpoint.objects.create(owner=shop.pk, url="https://example.com/hook", events=["*"])
    with transaction.atomic():
        delivery = interventions.test(endpoint.pk)
    job = Job.objects.get(task="orders.tasks.reserve")
    Job.objects.update(owner=str(shop.pk))
    return {
        "key": key,
        "order_id": str(order.pk),
        "external_id": "a/b",
        "fulfilment_id": str(order.fulfilments.get().pk),
        "return_id": str(order.returns.get().pk),
        "import_id": str(imported(shop).pk),
        "export_id": str(exported(shop).pk),
        "number": 1,
        "day": timezone.localdate().isoformat(),
        "month": f"{timezone.localdate():%Y-%m}",
        "sku": "SAKE-NIGIRI",
        "endpoint_id": str(endpoint.pk),
        "delivery_id": str(delivery.pk),
        "job_id": str(job.pk),
        "tries": itertools.count(),
        "provider": "stripe",
        "erasure_id": str(erased(shop).pk),
    }


def send_and_take_back_a_part(api: Api, path: str) -> None:
    """Of a confirmed order: a fulfilment, a return and a refund of one unit."""
    unit = {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 1}]}
    assert post(api, f"{path}/fulfilments", unit).status_code < 300
    for verb in ("returns", "refunds"):
        assert post(api, f"{path}/{verb}", {"reason": "cold", **unit}).status_code < 300


def imported(shop: Client) -> Import:
    with transaction.atomic():
        return Import.objects.accept(
            shop, [Row(1, text=json.dumps(EXAMPLE))], Manner(Format.NDJSON)
        )


def erased(shop: Client) -> Erasure:
    """Of a person who has ordered nothing."""
    with transaction.atomic():
        return Erasure.objects.begin(shop.pk, "nobody@example.com", by="a key")


def exported(shop: Client) -> Export:
    with transaction.atomic():
        export = Export.objects.begin(shop, {}, form=Format.CSV, bom=False)
        export.write_part()
    return export


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    paths: dict[str, dict[str, Any]] = described_api.get_openapi_schema()["paths"]
    return [
        (method, path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


def objections(body: Any, schema: dict[str, Any]) -> list[str]:
    """Why it is not of this schema of the description."""
    document = described_api.get_openapi_schema()
    whole = {**schema, "components": document["components"]}
    validator = jsonschema_rs.validator_for(whole, validate_formats=True)
    return [error.message for error in validator.iter_errors(body)]

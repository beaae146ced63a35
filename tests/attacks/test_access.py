"""Who may what: every operation of the API, with every scope, and on another client's things."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps

from orders.inputs.order import EXAMPLE
from orders.models import ApiKey, Client
from orders.models.client import SCOPES
from tests.shop import Api
from tests.shop.everything import Existing, existing, operations

__all__ = ["existing"]
pytestmark = pytest.mark.django_db(transaction=True)
BODIES: dict[str, Any] = {  # what is taken, of those that need a body
    "place_order": EXAMPLE | {"external_id": "new"},
    "count_stock": {"on_hand": 100},
    "adjust_stock": {"delta": 1, "reason": "x"},
    "refund_order": {"reason": "x", "amount": 1},
    "pay_order_again": {"token": "tok_ok"},
    "erase_customer": {"email": "hana@example.com"},
    "export_customer": {"email": "hana@example.com"},
    "replay_deliveries": {"since": "2026-01-31T09:00:00+09:00"},
    "create_endpoint": {"url": "https://example.com/hook", "events": ["*"]},
}
CSV = {
    "begin_import": (
        "external_id,currency,email,sku,name,quantity,unit_price,total,token\n"
        "x,JPY,a@b.co,SAKE-NIGIRI,,1,300,300,tok_ok"
    ),
    "count_file": "sku,on_hand\nSAKE-NIGIRI,100",
}
# the others belong to the shop
OWNED = {
    "order_id",
    "external_id",
    "fulfilment_id",
    "return_id",
    "import_id",
    "export_id",
    "erasure_id",
    "endpoint_id",
    "delivery_id",
    "job_id",
}
OPEN = {"receive_event"}  # to whoever holds the provider's secret


def keyed() -> list[tuple[str, str, dict[str, Any]]]:
    """The operations that ask for a key; those that delete come last, since the others still need
    what they delete.
    """
    found = [
        (method, path, operation)
        for method, path, operation in operations()
        if operation["operationId"] not in OPEN
    ]
    return sorted(found, key=lambda operation: operation[0] == "delete")


def scope_of(operation: dict[str, Any]) -> str:
    [[scope]] = operation["security"][0].values()
    return str(scope)


def ask(api: Api, method: str, path: str, operation: dict[str, Any], existing: Existing) -> Any:
    is_file = "text/csv" in operation.get("requestBody", {}).get("content", {})
    name = operation["operationId"]
    body = CSV[name] if is_file else json.dumps(BODIES.get(name, {}))
    headers = {"Idempotency-Key": str(uuid4())}
    content_type = "text/csv" if is_file else "application/json"
    return api.generic(
        method, path.format(**existing), body, content_type=content_type, headers=headers
    )


def rows() -> dict[str, list[Any]]:
    """Everything that stands in the tables of the shop, as it stands."""
    ours = [
        model
        for app in ("orders", "notifications", "celery_ledger")
        for model in apps.get_app_config(app).get_models()
    ]
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values()) for model in ours
    }


def test_every_operation_but_the_providers_asks_for_a_key(existing: Existing) -> None:
    nobody = Api("kaiten_nobody")
    for method, path, operation in keyed():
        assert ask(nobody, method, path, operation, existing).status_code == 401, (method, path)
    assert {
        operation["operationId"] for _, _, operation in operations() if not operation["security"]
    } == OPEN


def test_every_operation_takes_the_one_scope_that_its_description_names_and_no_other(
    existing: Existing, shop: Client
) -> None:
    keys = {scope: Api(ApiKey.objects.issue(shop, [scope])) for scope in SCOPES}
    before, checked = rows(), 0
    for method, path, operation in keyed():
        for scope in set(SCOPES) - {scope_of(operation)}:
            answer = ask(keys[scope], method, path, operation, existing)
            assert (answer.status_code, answer.json()["type"]) == (
                403,
                "/problems/missing-scope",
            ), (method, path, scope)
            assert scope_of(operation) in answer.json()["detail"]
            checked += 1
    assert rows() == before
    assert checked == len(keyed()) * (len(SCOPES) - 1) > 300
    for method, path, operation in keyed():
        answer = ask(keys[scope_of(operation)], method, path, operation, existing)
        assert answer.status_code in (200, 201, 202, 204, 409), (method, path, answer.content)


def test_nothing_of_one_client_is_found_or_changed_by_another(existing: Existing) -> None:
    """With every scope there is, and the right ids."""
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), []))
    theirs = {str(existing[name]) for name in OWNED} | {"hana@example.com"}
    stranger.get("/v1/stock")  # a key's first use is noted
    before, checked = rows(), 0
    for method, path, operation in keyed():
        named = {
            parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"
        }
        if named & OWNED:
            answer = ask(stranger, method, path, operation, existing)
            assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), (
                method,
                path,
            )
            checked += 1
        elif method == "get":
            answer = ask(stranger, method, path, operation, existing)
            text = answer.content.decode()
            assert not any(one in text for one in theirs), (method, path, text)
            checked += 1
    assert rows() == before
    assert checked > 25

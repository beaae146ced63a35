"""Every answer of every operation is exactly what its description says, whatever state an order is
in.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from api.app import api as described_api
from celery_ledger.testing import work_off
from orders import snapshots
from orders.models import ApiKey, Client, Order
from orders.states import State
from tests.shop import Api
from tests.shop.everything import Known, known, operations

__all__ = ["known"]
pytestmark = pytest.mark.django_db(transaction=True)
MODELS = {
    (method.lower(), operation.view_func.__name__): operation.response_models
    for router in described_api._get_bound_routers()
    for view in router.path_operations.values()
    for operation in view.operations
    for method in operation.methods
}


def test_every_operation_that_reads_answers_as_described(known: Known) -> None:
    read = 0
    for method, path, operation in operations():
        if method != "get" or not operation["security"]:
            continue
        answer = Api(known["key"]).get(path.format(**known))
        model = MODELS[method, operation["operationId"]].get(answer.status_code)
        if answer["Content-Type"].startswith("application/json") and model is not None:
            model.model_validate_json(b'{"response": ' + answer.content + b"}")
            read += 1
    assert read >= 16


def test_an_order_is_shown_as_described_in_every_state(
    api: Api, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    """Waiting, held, paid, sent in part and in full, refunded, declined and cancelled."""
    stock()
    write: dict[str, Any] = {"content_type": "application/json"}
    sku = {"sku": "SAKE-NIGIRI", "quantity": 1}

    def placed(external_id: str, token: str = "tok_ok") -> str:
        body = order_body(external_id=external_id, payment={"token": token})
        return str(api.place(body, key=external_id)["Location"])

    received = placed("received")
    seen = [api.get(received).json()]
    cancelled, held = placed("cancelled"), placed("held")
    api.post(f"{cancelled}/cancel", {"reason": "changed my mind"}, **write)
    api.post(f"{held}/hold", **write)
    declined, sent = placed("declined", "tok_declined"), placed("sent")
    work_off(ahead=timedelta(hours=1))
    seen += [api.get(url).json() for url in (received, cancelled, held, declined)]
    for number, (verb, body) in enumerate(
        [
            ("fulfilments", {"lines": [sku], "carrier": "Yamato"}),
            ("fulfilments", {"lines": [sku]}),
            ("refunds", {"lines": [sku], "reason": "cold", "restock": True}),
            ("refunds", {"reason": "late"}),
        ]
    ):
        key = {"Idempotency-Key": str(number)}
        assert api.post(f"{sent}/{verb}", body, **write, headers=key).status_code < 300
        seen.append(api.get(sent).json())
        work_off(ahead=timedelta(hours=1))
        seen.append(api.get(sent).json())
    order = TypeAdapter(snapshots.Order)
    for shown in seen:
        order.validate_python(shown)
    assert {shown["state"] for shown in seen} == set(State.values) - {"reserved"}
    assert {shown["payment_state"] for shown in seen} >= {"none", "paid", "partially_refunded"}
    assert {shown["fulfilment_state"] for shown in seen} == {"none", "partial", "full"}
    Order.objects.filter(external_id="held").update(state="reserved")
    order.validate_python(api.get(held).json())
    for kind, verb in ((snapshots.Fulfilment, "fulfilments"), (snapshots.Refund, "refunds")):
        shown = Api(ApiKey.objects.issue(shop, [])).get(f"{sent}/{verb}").json()["data"]
        assert len(shown) == 2
        for one in shown:
            TypeAdapter(kind).validate_python(one)

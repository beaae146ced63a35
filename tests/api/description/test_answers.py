"""Every answer of every operation is exactly what its description says, whatever state an order is
in.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from pydantic import TypeAdapter

from api.app import api as described_api
from celery_ledger.testing import work_off
from orders import snapshots
from orders.models import Order
from orders.states import State
from tests.shop import Api, post
from tests.shop.everything import Known, known, operations

__all__ = ["known"]
pytestmark = pytest.mark.django_db(transaction=True)
AN_HOUR = timedelta(hours=1)
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
    api: Api, stock: Any, order_body: Callable[..., Any]
) -> None:
    """Waiting, held, paid, sent in part and in full, refunded, declined and cancelled."""
    stock()
    place = partial(placed, api, order_body)
    received = place("received")
    seen = [api.get(received).json()]
    cancelled, held = place("cancelled"), place("held")
    assert post(api, f"{cancelled}/cancel", {"reason": "changed my mind"}).status_code == 202
    assert post(api, f"{held}/hold").status_code == 200
    declined, sent = place("declined", "tok_declined"), place("sent")
    work_off(ahead=AN_HOUR)
    seen += [api.get(url).json() for url in (received, cancelled, held, declined)]
    seen += [*sent_and_refunded(api, sent)]
    Order.objects.filter(external_id="received").update(state="reserved")
    seen.append(api.get(received).json())
    order = TypeAdapter(snapshots.Order)
    for snapshot in seen:
        order.validate_python(snapshot)
    assert {snapshot["state"] for snapshot in seen} == set(State.values)
    assert {snapshot["payment_state"] for snapshot in seen} >= {
        "none",
        "paid",
        "partially_refunded",
    }
    assert {snapshot["fulfilment_state"] for snapshot in seen} == {"none", "partial", "full"}


def test_fulfilments_and_refunds_are_shown_as_described(
    api: Api, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock()
    sent = placed(api, order_body, "sent")
    work_off(ahead=AN_HOUR)
    assert len([*sent_and_refunded(api, sent)]) == 8
    for kind, verb in ((snapshots.Fulfilment, "fulfilments"), (snapshots.Refund, "refunds")):
        shown = api.get(f"{sent}/{verb}").json()["data"]
        assert len(shown) == 2
        for one in shown:
            TypeAdapter(kind).validate_python(one)


def placed(
    api: Api, order_body: Callable[..., Any], external_id: str, token: str = "tok_ok"
) -> str:
    """The order's path."""
    body = order_body(external_id=external_id, payment={"token": token})
    return str(api.place(body, key=external_id)["Location"])


def sent_and_refunded(api: Api, path: str) -> Iterator[dict[str, Any]]:
    """The order after each step, before and after what follows of it is done."""
    unit = {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 1}]}
    for verb, body in (
        ("fulfilments", {**unit, "carrier": "Yamato"}),
        ("fulfilments", unit),
        ("refunds", {**unit, "reason": "cold", "restock": True}),
        ("refunds", {"reason": "late"}),
    ):
        assert post(api, f"{path}/{verb}", body).status_code < 300
        yield api.get(path).json()
        work_off(ahead=AN_HOUR)
        yield api.get(path).json()

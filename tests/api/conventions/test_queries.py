"""A query is as strict as a body, whatever the endpoint."""

from typing import Any

import pytest

from orders.inputs.order import EXAMPLE
from orders.models import Order, Stock
from tests.shop import Api
from tests.shop.everything import Existing, existing, operations

__all__ = ["existing"]
pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/v1/orders"
OPERATIONS = {one["operationId"]: (method, path) for method, path, one in operations()}
BODIES: dict[str, Any] = {
    "place_order": EXAMPLE,
    "change_order": {"note": "x"},
    "erase_customer": {"email": "nobody@example.com"},
    "export_customer": {"email": "nobody@example.com"},
    "refund_order": {"reason": "cold"},
    "pay_order_again": {"token": "tok_ok"},
    "count_stock": {"on_hand": 7},
    "adjust_stock": {"delta": 7, "reason": "found"},
    "change_endpoint": {},
    "change_shop": {"name": "Ya"},
    "create_endpoint": {"url": "https://example.com/new", "events": ["*"]},
    "replay_deliveries": {"since": "2026-01-01T00:00:00Z"},
}


def errors(answer: Any) -> list[tuple[str, str]]:
    assert answer.status_code == 422, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    return [(error["pointer"], error["message"]) for error in answer.json()["errors"]]


def test_no_operation_ignores_a_parameter_that_it_does_not_know(existing: Existing) -> None:
    pointers = {}
    for operation_id, (method, path) in OPERATIONS.items():
        sent: dict[str, Any] = {"content_type": "application/json"}
        if operation_id == "begin_import":
            sent = {"data": b"{}", "content_type": "application/x-ndjson"}
        elif operation_id in BODIES:
            sent["data"] = BODIES[operation_id]
        answer = getattr(Api(existing["key"]), method)(
            f"{path.format(**existing)}?payment_sate=paid",
            **({} if method == "get" else sent),
            headers={"Idempotency-Key": "unknown"},
        )
        [(pointers[operation_id], message)] = errors(answer)
        assert message.startswith("is no parameter of this endpoint; "), operation_id
    assert pointers == dict.fromkeys(OPERATIONS, "/query/payment_sate")
    assert (Order.objects.count(), Stock.objects.get().on_hand) == (1, 99)


@pytest.mark.parametrize(
    ("query", "pointer", "says"),
    [
        ("payment_sate=paid", "payment_sate", "did you mean payment_state?"),
        ("State=paid", "State", "did you mean state?"),
        ("fulfilment=none", "fulfilment", "did you mean fulfilment_state?"),
        ("a~b/c=1", "a~0b~1c", "it takes state"),
        ("=", "", "it takes state"),
        ("%ff=1", "\ufffd", "it takes state"),
        ("state=reserved&state=confirmed", "state", "stands there twice"),
    ],
)
def test_the_parameter_is_named_and_the_nearest_that_there_is(
    api: Api, query: str, pointer: str, says: str
) -> None:
    [(named, message)] = errors(api.get(f"{LIST}?{query}"))
    assert (named, says in message) == (f"/query/{pointer}", True), message


def test_all_that_are_wrong_are_named_and_a_long_one_costs_no_search(api: Api) -> None:
    query = "&".join(f"{'x' * 500}{number}=1" for number in range(60))
    answer = api.get(f"{LIST}?{query}")
    assert len(errors(answer)) == 50
    assert len(answer.content) < 50 * 2 * 600


def test_who_has_no_key_learns_that_first(db: None) -> None:
    assert Api("none").get(f"{LIST}?payment_sate=paid").status_code == 401

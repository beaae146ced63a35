"""What is done to the goods of an order over HTTP, and what they and their books come to."""

from collections.abc import Callable
from typing import Any

from celery_ledger.testing import work_off
from notifications.models import Event
from orders.audit import MONEY, STOCK, broken
from orders.models import Stock
from tests.shop import Api, post

Sold = Callable[..., str]


def held_back(sku: str) -> tuple[int, int]:
    """On hand and reserved, of books that add up."""
    assert [*broken(STOCK, limit=9), *broken(MONEY, limit=9)] == []
    row = Stock.objects.get(sku=sku)
    return row.on_hand, row.reserved


def standing(api: Api, path: str) -> tuple[str, str, int, int]:
    order = api.get(path).json()
    return order["state"], order["fulfilment_state"], order["refunded"], order["refund_pending"]


def send(api: Api, path: str, *units: dict[str, Any]) -> None:
    body = {"lines": [{"quantity": 1, **unit} for unit in units]}
    answer = post(api, f"{path}/fulfilments", body)
    assert answer.status_code == 201, answer.json()


def refund(api: Api, path: str, **asked: Any) -> Any:
    answer = post(api, f"{path}/refunds", {"reason": "sorry", **asked})
    work_off()
    return answer


def names(path: str) -> list[str]:
    timeline = Event.objects.filter(subject=path.removeprefix("/v1/orders/")).order_by("seq")
    return [event.kind.removeprefix("order.") for event in timeline][3:]


TWO = ({"sku": "A", "quantity": 2, "unit_price": 500},)
FREE = ({"sku": "A", "quantity": 2, "unit_price": 500, "discount": 1000},)

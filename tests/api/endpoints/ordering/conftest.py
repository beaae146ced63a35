from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from celery_ledger.testing import work_off
from tests.api.endpoints.ordering.goods import Sold
from tests.shop import Api


@pytest.fixture
def sold(api: Api, stock: Any, order_body: Callable[..., Any]) -> Sold:
    """A confirmed order of these lines. Returns its path."""
    for sku in ("A", "B", "GIFT"):
        stock(sku, 10)

    def order(*lines: dict[str, Any], total: int, **changes: Any) -> str:
        body = order_body(
            external_id=str(uuid4()),
            lines=[{"quantity": 1, **line} for line in lines],
            total=total,
            **changes,
        )
        path: str = api.place(body, key=str(uuid4())).json()["links"]["self"]
        work_off()
        assert api.get(path).json()["state"] == "confirmed"
        return path

    return order

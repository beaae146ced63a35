"""What a text may hold, whichever shape it stands in."""

from typing import Any

import pytest
from pydantic import ValidationError

from api.shapes.requests.goods import FulfilmentRequest, RefundRequest, StockChange, StockCount
from api.shapes.requests.orders import CancelRequest, HoldRequest
from orders.inputs.faults import pointed
from orders.inputs.order import EXAMPLE, OrderInput
from orders.inputs.shape import Shape

LINE = EXAMPLE["lines"][0]
TEXTS: list[
    tuple[type[Shape], str, Any]
] = [  # a shape, the pointer to a text in it, and a body around that text
    (OrderInput, "/external_id", lambda text: EXAMPLE | {"external_id": text}),
    (OrderInput, "/email", lambda text: EXAMPLE | {"email": f"{text}@example.com"}),
    (OrderInput, "/lines/0/sku", lambda text: EXAMPLE | {"lines": [LINE | {"sku": text}]}),
    (OrderInput, "/lines/0/name", lambda text: EXAMPLE | {"lines": [LINE | {"name": text}]}),
    (OrderInput, "/payment/token", lambda text: EXAMPLE | {"payment": {"token": text}}),
    (CancelRequest, "/reason", lambda text: {"reason": text}),
    (HoldRequest, "/reason", lambda text: {"reason": text}),
    (RefundRequest, "/reason", lambda text: {"reason": text}),
    (StockChange, "/reason", lambda text: {"delta": 1, "reason": text}),
    (StockCount, "/name", lambda text: {"on_hand": 1, "name": text}),
    (FulfilmentRequest, "/carrier", lambda text: {"carrier": text}),
    (FulfilmentRequest, "/tracking", lambda text: {"tracking": text}),
    (FulfilmentRequest, "/lines/0/sku", lambda text: {"lines": [{"sku": text, "quantity": 1}]}),
]


@pytest.mark.parametrize(("shape", "pointer", "around"), TEXTS)
def test_a_blank_text_or_a_control_character_is_refused_by_its_field(
    shape: type[Shape], pointer: str, around: Any
) -> None:
    shape.model_validate(around("EBI-1"))
    for text in (
        " ",
        "\u3000",
        "\u200b",
        "EBI\n1",
        "EBI\r1",
        "EBI\t1",
        "\x1b[31mEBI",
        "EBI\x7f",
        "EBI\x85",
        "EBI\x9b",
        "EBI\u2028",
    ):
        with pytest.raises(ValidationError) as refused:
            shape.model_validate(around(text))
        assert [pointed(dict(error), skip=0)[0] for error in refused.value.errors()] == [pointer], (
            ascii(text)
        )


def test_a_name_of_metadata_is_a_line_and_its_text_may_be_several() -> None:
    assert OrderInput.model_validate(EXAMPLE | {"metadata": {"note": "two\nlines", "empty": ""}})
    for name in (" ", "a\nb"):
        with pytest.raises(ValidationError, match="must not"):
            OrderInput.model_validate(EXAMPLE | {"metadata": {name: "x"}})


def test_what_people_write_is_taken() -> None:
    for name in ("", "鮭 にぎり", "Crème brûlée", "👩‍🍳 special", " padded "):
        [line] = OrderInput.model_validate(EXAMPLE | {"lines": [LINE | {"name": name}]}).lines
        assert line.name == name

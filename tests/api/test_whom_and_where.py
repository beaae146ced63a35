"""Whom an order is for and where it goes: taken, shown and told."""

from collections.abc import Callable
from typing import Any

import pytest

from notifications.models import Event
from tests.shop import Api

pytestmark = pytest.mark.django_db
Body = Callable[..., dict[str, Any]]

NOWHERE = dict.fromkeys(
    "name company line1 line2 city region postal_code country phone".split(), None
)
TOKYO = {
    "name": "佐藤 花",
    "line1": "神南1-2-3",
    "line2": "寿司ビル 4F",
    "city": "渋谷区",
    "region": "東京都",
    "postal_code": "150-0041",
    "country": "JP",
    "phone": "03-1234-5678",
}
LONDON = {"name": "Hana Sato", "city": "London", "postal_code": "SW1A 1AA", "country": "GB"}
SAID = {
    "customer": {"name": "佐藤 花", "phone": "+81 90 1234 5678", "external_id": "c/17"},
    "shipping_address": TOKYO,
    "billing_address": LONDON,
    "note": "rings twice\nor thrice",
    "tags": ["gift", "お得意様"],
}


def test_what_was_said_of_people_and_places_is_shown_and_told(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    order = api.place(order_body(**SAID)).json()
    shown = {**SAID, "shipping_address": NOWHERE | TOKYO, "billing_address": NOWHERE | LONDON}
    assert {name: order[name] for name in SAID} == shown
    assert api.get(order["links"]["self"]).json() == order
    told = Event.objects.get(subject=order["id"], kind="order.received").data["order"]
    assert {name: told[name] for name in SAID} == shown


def test_nothing_of_it_is_needed(api: Api, stock: Any, order_body: Body) -> None:
    stock()
    order = api.place(order_body()).json()
    assert {name: order[name] for name in SAID} == {
        "customer": None,
        "shipping_address": None,
        "billing_address": None,
        "note": None,
        "tags": [],
    }


@pytest.mark.parametrize(
    "postal_code", ["150-0041", "SW1A 1AA", "10115", "D02 AF30", "01310-100", "1012 AB", "110001"]
)
def test_postal_codes_of_many_countries_are_taken(
    api: Api, stock: Any, order_body: Body, postal_code: str
) -> None:
    stock()
    address = {"postal_code": postal_code}
    order = api.place(order_body(shipping_address=address)).json()
    assert order["shipping_address"]["postal_code"] == postal_code


def test_members_that_are_null_or_empty_were_not_said(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    body = order_body(
        customer={"name": "", "phone": None},
        shipping_address={"line2": "", "city": None, "postal_code": "", "country": ""},
    )
    order = api.place(body).json()
    assert (order["customer"], order["shipping_address"]) == (None, None)

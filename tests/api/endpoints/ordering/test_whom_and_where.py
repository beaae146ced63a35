"""Whom an order is for and where it goes: taken, shown and told."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celery_ledger.testing import work_off
from notifications.models import Event
from orders.models import ApiKey, Client
from tests.postgres.hands import Hand
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
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
    expected = {**SAID, "shipping_address": NOWHERE | TOKYO, "billing_address": NOWHERE | LONDON}
    assert {name: order[name] for name in SAID} == expected
    assert api.get(order["links"]["self"]).json() == order
    snapshot = Event.objects.get(subject=order["id"], kind="order.received").data["order"]
    assert {name: snapshot[name] for name in SAID} == expected


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


def change(api: Api, order: Any, body: Any, tag: str | None = None) -> Any:
    headers = {"If-Match": tag} if tag else {}
    return api.patch(order["links"]["self"], body, content_type="application/json", headers=headers)


@pytest.fixture
def hand() -> Iterator[Hand]:
    with Hand() as hand:
        yield hand


@pytest.fixture
def order(api: Api, stock: Any, order_body: Body) -> Any:
    stock()
    return api.place(order_body(**SAID, metadata={"table": "7"})).json()


def test_what_is_named_is_changed_and_told_and_nothing_else(api: Api, order: Any) -> None:
    body: dict[str, Any] = {
        "email": "taro@example.com",
        "tags": [],
        "note": None,
        "shipping_address": LONDON,
    }
    answer = change(api, order, body)
    changed = answer.json()
    assert (answer.status_code, answer["ETag"]) == (200, '"2"')
    news = {**body, "shipping_address": NOWHERE | LONDON, "version": 2}
    order["updated_at"] = max(order["updated_at"], changed["updated_at"])
    assert changed == {**order, **news}
    assert api.get(order["links"]["self"]).json() == changed
    event = Event.objects.get(subject=order["id"], seq=2)
    assert (event.kind, event.data["order"]) == ("order.updated", changed)


@pytest.mark.parametrize(
    "body", [{}, {"tags": ["gift", "お得意様"]}, {"customer": SAID["customer"]}]
)
def test_what_is_no_news_is_no_event(api: Api, order: Any, body: Any) -> None:
    for tag in (None, '"7"'):  # a repeat of what succeeded, whatever its tag
        answer = change(api, order, body, tag)
        assert (answer.status_code, answer["ETag"], answer.json()) == (200, '"1"', order)
    assert Event.objects.filter(subject=order["id"]).count() == 1


def test_who_does_not_know_the_version_changes_nothing(api: Api, order: Any) -> None:
    for tag in ('"0"', "nonsense", '"2"'):
        answer = change(api, order, {"note": "x"}, tag)
        assert (answer.status_code, answer.json()["type"]) == (412, "/problems/precondition-failed")
    assert change(api, order, {"note": "x"}, '"1"').json()["version"] == 2
    assert change(api, order, {"note": "y"}, 'W/"2"').json()["version"] == 3
    assert change(api, order, {"note": "z"}, "*").json()["version"] == 4


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"email": None}, "/email"),
        ({"email": "nobody"}, "/email"),
        ({"total": 1}, "/total"),
        ({"customer": {"name": 7}}, "/customer/name"),
        ({"shipping_address": {"country": "XX"}}, "/shipping_address/country"),
        ({"metadata": None}, "/metadata"),
        ({"tags": None}, "/tags"),
    ],
)
def test_a_wrong_change_is_refused_by_name(api: Api, order: Any, body: Any, pointer: str) -> None:
    answer = change(api, order, body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


def test_another_clients_order_is_not_there(order: Any, db: None) -> None:
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), []))
    assert change(stranger, order, {"note": "mine"}).status_code == 404


def test_where_a_parcel_went_stays_in_the_book(api: Api, order: Any) -> None:
    work_off()
    lines = [{"position": 0, "quantity": 1}]
    assert post(api, f"{order['links']['self']}/fulfilments", {"lines": lines}).status_code == 201
    refused = change(api, order, {"note": "x", "shipping_address": LONDON})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/already-sent")
    changed = change(api, order, {"billing_address": None, "shipping_address": TOKYO}).json()
    assert changed["billing_address"] is None


def test_an_address_that_changes_while_the_parcel_leaves_is_the_old_one(
    api: Api, order: Any, hand: Hand
) -> None:
    """Whoever comes second sees what the first has done."""
    work_off()
    path = order["links"]["self"]
    hand.open_transaction()
    hand.do(lambda: post(api, f"{path}/fulfilments"))
    with Hand() as other:
        changing = other.begin(lambda: change(api, order, {"shipping_address": LONDON}))
        other.wait_until_blocked()
        hand.commit()
        assert changing.result(timeout=10).json()["type"] == "/problems/already-sent"
    assert api.get(path).json()["shipping_address"] == NOWHERE | TOKYO


def test_two_that_know_one_version_change_it_once(api: Api, order: Any, hand: Hand) -> None:
    hand.open_transaction()
    assert hand.do(lambda: change(api, order, {"note": "x"}, '"1"')).status_code == 200
    with Hand() as other:
        changing = other.begin(lambda: change(api, order, {"tags": []}, '"1"'))
        other.wait_until_blocked()
        hand.commit()
        assert changing.result(timeout=10).status_code == 412
    assert api.get(order["links"]["self"]).json()["tags"] == SAID["tags"]

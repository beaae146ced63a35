"""/v1/shop: a client's own settings, and what is left to the installation."""

from typing import Any

import pytest

from notifications.models import Shop
from orders.models import ApiKey, Client
from tests.postgres.hands import Hand
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/v1/shop"
NAMES = [
    "name",
    "logo_url",
    "contact",
    "reply_to",
    "imprint",
    "time_zone",
    "language",
    "reservation_minutes",
    "withdrawal_days",
]


def patch(api: Api, body: Any, **headers: str) -> Any:
    return api.patch(PATH, body, content_type="application/json", headers=headers)


def test_a_client_says_some_and_leaves_the_rest_to_the_installation(
    api: Api, settings: Any
) -> None:
    settings.SHOP = {**settings.SHOP, "contact": "", "name": "Kaiten", "reservation_minutes": 30}
    first = api.get(PATH)
    assert first.json()["of_the_installation"] == NAMES
    assert (first.json()["contact"], first.json()["reservation_minutes"]) == (None, 30)
    changes = {
        "name": "寿司屋",
        "withdrawal_days": 0,
        "language": "ja",
        "time_zone": "Europe/Berlin",
    }
    changed = patch(api, changes)
    assert changed.status_code == 200
    assert changed.json() == {
        **first.json(),
        **changes,
        "of_the_installation": [
            "logo_url",
            "contact",
            "reply_to",
            "imprint",
            "reservation_minutes",
        ],
    }
    again = patch(api, {"name": None})
    assert (again.json()["name"], again.json()["language"]) == ("Kaiten", "ja")
    assert api.get(PATH).content == again.content == patch(api, {}).content
    other = Api(ApiKey.objects.issue(Client.objects.create(name="other"), []))
    assert other.get(PATH).json() == first.json()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"contact": "x" * 501}, "/contact"),
        ({"reply_to": "nobody"}, "/reply_to"),
        ({"logo_url": "http://cdn.example.com/logo.png"}, "/logo_url"),
        ({"time_zone": "Asia/Edo"}, "/time_zone"),
        ({"language": "fr"}, "/language"),
        ({"reservation_minutes": "90"}, "/reservation_minutes"),
        ({"withdrawal_days": 366}, "/withdrawal_days"),
        ({"names": "x"}, "/names"),
    ],
)
def test_what_a_shop_cannot_be_is_refused_by_name(api: Api, body: Any, pointer: str) -> None:
    refused = patch(api, {"imprint": "x", **body})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]
    assert not Shop.objects.exists()


def test_whoever_changes_what_is_not_so_any_more_is_refused(api: Api) -> None:
    tag = api.get(PATH)["ETag"]
    changed = patch(api, {"name": "One"}, **{"If-Match": tag})
    assert (changed.status_code, changed["ETag"] != tag) == (200, True)
    assert patch(api, {"name": "Two"}, **{"If-Match": tag}).status_code == 412
    assert patch(api, {"name": "Two"}, **{"If-Match": changed["ETag"]}).status_code == 200
    assert Shop.objects.get().name == "Two"


def test_two_at_once_each_change_what_they_name(
    api: Api, shop: Client, one: Hand, two: Hand
) -> None:
    one.open_transaction()
    one.do(lambda: Shop.objects.change(shop.pk, {"name": "One"}))
    second = two.begin(lambda: patch(api, {"language": "ja"}))
    two.wait_until_blocked()
    one.commit()
    assert second.result(timeout=10).json()["name"] == "One"
    own = Shop.objects.get()
    assert (own.name, own.language) == ("One", "ja")


def test_each_verb_needs_its_scope(shop: Client) -> None:
    reader = Api(ApiKey.objects.issue(shop, ["shop:read"]))
    assert (reader.get(PATH).status_code, patch(reader, {}).status_code) == (200, 403)
    assert Api(ApiKey.objects.issue(shop, ["shop:write"])).get(PATH).status_code == 403

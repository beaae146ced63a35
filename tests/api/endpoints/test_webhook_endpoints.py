from typing import Any

import pytest

from api.own import own_endpoint
from notifications.models import Endpoint
from orders.models import ApiKey, Client
from tests.postgres.hands import Hand
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/v1/webhook-endpoints"
DRAFT = {"url": "http://127.0.0.1:9000/hooks", "events": ["order.confirmed"]}


@pytest.fixture(autouse=True)
def development(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = True


def post(api: Api, body: Any) -> Any:
    return api.post(PATH, body, content_type="application/json")


def test_the_secret_is_shown_once(api: Api) -> None:
    created = post(api, DRAFT)
    endpoint = created.json()
    assert (created.status_code, endpoint["url"], endpoint["events"]) == (
        201,
        DRAFT["url"],
        ["order.confirmed"],
    )
    assert endpoint["secret"].startswith("whsec_")
    assert "secret" not in api.get(f"{PATH}/{endpoint['id']}").json()
    assert "secret" not in api.get(PATH).json()["data"][0]


def test_an_endpoint_is_changed_and_removed(api: Api) -> None:
    path = f"{PATH}/{post(api, DRAFT).json()['id']}"
    assert api.patch(path, {"events": ["*"]}, content_type="application/json").json()["events"] == [
        "*"
    ]
    assert api.delete(path).status_code == 204
    assert (api.get(path).status_code, api.get(PATH).json()["data"]) == (404, [])


def test_payload_and_order_are_chosen_and_changed(api: Api) -> None:
    made = post(api, DRAFT).json()
    path = f"{PATH}/{made['id']}"
    assert (made["payload"], made["ordered"]) == ("full", False)
    for change in ({"payload": "thin"}, {"ordered": True}, {"events": ["*"]}):
        api.patch(path, change, content_type="application/json")
    for endpoint in (api.get(path).json(), api.get(PATH).json()["data"][0]):
        assert (endpoint["payload"], endpoint["ordered"]) == ("thin", True)
    chosen = post(api, DRAFT | {"payload": "thin", "ordered": True}).json()
    assert (chosen["payload"], chosen["ordered"]) == ("thin", True)


def test_a_change_leaves_alone_what_it_does_not_name(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at once: the second one comes between the first one's look and its write."""
    path = f"{PATH}/{post(api, DRAFT).json()['id']}"

    def look(*args: Any) -> Endpoint:
        found = own_endpoint(*args)
        Endpoint.objects.update(events=["order.held"])
        return found

    monkeypatch.setattr("api.endpoints.webhook_endpoints.own_endpoint", look)
    api.patch(path, {"url": f"{DRAFT['url']}/new"}, content_type="application/json")
    endpoint = Endpoint.objects.get()
    assert (endpoint.url, endpoint.events) == (f"{DRAFT['url']}/new", ["order.held"])


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"url": "nonsense"}, "/url"),
        ({"url": "http://10.0.0.1/"}, "/url"),
        ({"url": 7}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["order.eaten"]}, "/events"),
        ({"events": "*"}, "/events"),
        ({"more": 1}, "/more"),
        ({"payload": "slim"}, "/payload"),
        ({"payload": None}, "/payload"),
        ({"ordered": "yes"}, "/ordered"),
        ({"ordered": 1}, "/ordered"),
        ({"headers": []}, "/headers"),
        ({"headers": {f"x-{n}": "1" for n in range(11)}}, "/headers"),
        ({"headers": {"x-shop": "鮭"}}, "/headers/x-shop"),
        ({"headers": {"x-shop": "a\r\nhost: b"}}, "/headers/x-shop"),
        ({"headers": {"x-shop": " "}}, "/headers/x-shop"),
        ({"headers": {"x-shop": 7}}, "/headers/x-shop"),
        *(
            ({"headers": {name: "1"}}, f"/headers/{name}")
            for name in (
                "host",
                "te",
                "webhook-id",
                "content-length",
                "X-Shop",
                "x shop",
                "",
                "x" * 65,
            )
        ),
    ],
)
def test_a_wrong_field_is_refused_by_name(api: Api, changes: Any, pointer: str) -> None:
    response = post(api, DRAFT | changes)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)
    assert Endpoint.objects.count() == 0


def test_a_stranger_sees_and_removes_nothing(api: Api) -> None:
    path = f"{PATH}/{post(api, DRAFT).json()['id']}"
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), []))
    assert stranger.get(PATH).json() == {"data": []}
    assert (stranger.get(path).status_code, stranger.delete(path).status_code) == (404, 404)
    assert Endpoint.objects.count() == 1


def test_a_client_has_a_limited_number_of_endpoints(api: Api, settings: Any) -> None:
    settings.WEBHOOK_ENDPOINTS_PER_CLIENT = 1
    assert (post(api, DRAFT).status_code, post(api, DRAFT).status_code) == (201, 409)


def test_scopes_are_kept_apart(shop: Client) -> None:
    reader = Api(ApiKey.objects.issue(shop, ["webhooks:read"]))
    assert (post(reader, DRAFT).status_code, reader.get(PATH).status_code) == (403, 200)


def test_two_that_register_at_once_are_not_both_the_last_that_may(
    shop: Client, settings: Any
) -> None:
    settings.WEBHOOK_ENDPOINTS_PER_CLIENT = 1

    def register() -> Endpoint | None:
        return Endpoint.objects.register(
            shop.pk, url="https://example.com/", events=["*"], headers={}
        )

    with Hand() as first, Hand() as second:
        first.open_transaction()
        assert first.do(register)
        waiting = second.begin(register)
        second.wait_until_blocked()
        first.commit()
        assert waiting.result(timeout=10) is None
    assert Endpoint.objects.count() == 1

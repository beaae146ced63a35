"""Orders found again: in pages, narrowed, and by the client's own ids."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from celery_ledger.testing import work_off
from orders.inputs.order import OrderInput
from orders.models import ApiKey, Client, Order
from orders.tasks import place
from tests.postgres.plans import plans_of
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
Ordered = Callable[..., Order]
PATH = "/v1/orders"
ODD_IDS = (
    "a/b",
    "/a//b/",
    "a b",
    "寿司 42",
    "a?b#c&d=e",
    "50%",
    "%2F",
    "a+b",
    "../stock",
    "x/events",
    "é",
    '"',
)


@pytest.fixture
def ordered(shop: Client, stock: Any, order_body: Callable[..., Any]) -> Ordered:
    stock()

    def order(client: Client = shop, **changes: Any) -> Order:
        fields = {"external_id": str(uuid4()), **changes}
        with transaction.atomic():
            return place(client, OrderInput.model_validate(order_body(**fields)))

    return order


@pytest.fixture
def stranger(db: None) -> Client:
    return Client.objects.create(name="stranger")


def ids(page: dict[str, Any]) -> list[str]:
    return [order["id"] for order in page["data"]]


def test_orders_are_listed_newest_first_in_the_shape_of_one(api: Api, ordered: Ordered) -> None:
    old, new = ordered(), ordered()
    page = api.get(PATH).json()
    assert (ids(page), page["next"]) == ([str(new.pk), str(old.pk)], None)
    assert page["data"][1] == api.get(f"{PATH}/{old.pk}").json()


def test_pages_follow_each_other_without_a_gap_or_a_repeat(api: Api, ordered: Ordered) -> None:
    """Also when new orders come in between."""
    listed = [str(ordered().pk) for _ in range(5)][::-1]
    seen, cursor = [], ""
    for size in (2, 2, 1):
        page = api.get(f"{PATH}?limit=2{cursor}").json()
        assert len(page["data"]) == size
        seen += ids(page)
        cursor = f"&after={page['next']}"
        ordered()
    assert (seen, page["next"]) == (listed, None)


def test_a_page_that_is_just_full_is_the_last(api: Api, ordered: Ordered) -> None:
    ordered(), ordered()
    assert api.get(f"{PATH}?limit=2").json()["next"] is None


def test_fifty_orders_of_five_lines_take_three_queries(
    api: Api, ordered: Ordered, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """The key, the orders, their lines: as many as for one order."""
    lines = [{"sku": "SAKE-NIGIRI", "quantity": 1, "unit_price": 100}] * 5
    for _ in range(50):
        ordered(lines=lines, total=500)
    api.get(PATH)  # a key's first use is noted
    for limit in (1, 50):
        with django_assert_num_queries(3):
            page = api.get(f"{PATH}?limit={limit}").json()
        assert [len(order["lines"]) for order in page["data"]] == [5] * limit


def test_a_list_is_narrowed_by_each_of_its_columns(api: Api, ordered: Ordered) -> None:
    paid = ordered()
    work_off()
    declined = ordered(payment={"token": "tok_declined"}, email="taro@example.com")
    work_off()
    received = ordered()

    def found(query: str) -> list[str]:
        return ids(api.get(f"{PATH}?{query}").json())

    assert found("state=confirmed") == found("payment_state=paid") == [str(paid.pk)]
    assert (
        found("payment_state=failed&state=cancelled")
        == found("email=taro%40example.com")
        == [str(declined.pk)]
    )
    assert found("state=received&email=hana%40example.com") == [str(received.pk)]
    assert found("state=received&email=nobody%40example.com") == []


def test_a_list_begins_after_a_moment(api: Api, ordered: Ordered) -> None:
    old, new = ordered(), ordered()
    new.refresh_from_db()
    now = timezone.now()
    Order.objects.filter(pk=old.pk).update(created_at=now - timedelta(minutes=20))

    def found(moment: str) -> list[str]:
        return ids(api.get(PATH, {"created_after": moment}).json())

    assert found((now - timedelta(minutes=10)).isoformat()) == [str(new.pk)]
    assert found((now - timedelta(minutes=30)).isoformat()) == [str(new.pk), str(old.pk)]
    # as a + comes unescaped
    assert found((now - timedelta(minutes=10)).isoformat().replace("+", " ")) == [str(new.pk)]
    for first in ("0001-01-01T12:00:00Z", "0001-01-01T00:00:00+10:00"):
        assert found(first) == [str(new.pk), str(old.pk)]
    assert found("9999-12-31T23:59:59-10:00") == []
    assert found(new.created_at.isoformat()) == found("9999-12-31T00:00:00+00:00") == []


def test_a_list_that_begins_late_does_not_walk_through_older_orders(
    api: Api, ordered: Ordered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.models.placed.finding.CLOCK_SKEW", timedelta(0))
    for _ in range(20):
        ordered()
    after = timezone.now() + timedelta(seconds=1)
    query = (
        Order.objects.of(Client.objects.get()).narrowed(created_after=after).order_by("-pk")[:20]
    )
    [plan] = plans_of(lambda: list(query))
    assert plan.root["Plans"][0].get("Rows Removed by Filter", 0) == 0, plan.root


def test_a_list_shows_no_strangers_orders(ordered: Ordered, stranger: Client, api: Api) -> None:
    own, other = ordered(), ordered(stranger)
    assert ids(api.get(PATH).json()) == [str(own.pk)]
    assert ids(Api(ApiKey.objects.issue(stranger, [])).get(PATH).json()) == [str(other.pk)]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/query/limit"),
        ("limit=101", "/query/limit"),
        ("state=eaten", "/query/state"),
        ("payment_state=", "/query/payment_state"),
        ("created_after=yesterday", "/query/created_after"),
        ("created_after=1767225600", "/query/created_after"),
        ("created_after=2026-01-01T00:00:00", "/query/created_after"),  # of which zone?
        # before the calendar
        ("after=nonsense", "/query/after"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(api: Api, query: str, pointer: str) -> None:
    response = api.get(f"{PATH}?{query}")
    assert (response.status_code, response["Content-Type"]) == (422, "application/problem+json")
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


@pytest.mark.parametrize("external_id", ODD_IDS)
def test_an_order_is_found_by_its_external_id_however_odd(
    api: Api, ordered: Ordered, external_id: str
) -> None:
    order = ordered(external_id=external_id)
    for path in {quote(external_id, safe=""), quote(external_id)}:
        response = api.get(f"{PATH}/by-external/{path}")
        assert (response.status_code, response.json()["id"]) == (200, str(order.pk)), path
        assert response.json() == api.get(f"{PATH}/{order.pk}").json()


def test_an_order_from_before_line_breaks_were_refused_is_found_too(
    api: Api, ordered: Ordered
) -> None:
    order = ordered(external_id="a b")
    Order.objects.filter(pk=order.pk).update(external_id="a\nb")
    assert api.get(f"{PATH}/by-external/a%0Ab").json()["id"] == str(order.pk)


def test_an_order_by_external_id_has_its_tag(api: Api, ordered: Ordered) -> None:
    ordered(external_id="a/b")
    response = api.get(f"{PATH}/by-external/a/b")
    assert response["ETag"] == '"1"'
    unchanged = api.get(f"{PATH}/by-external/a/b", headers={"If-None-Match": 'W/"1"'})
    assert (unchanged.status_code, unchanged["ETag"], unchanged.content) == (304, '"1"', b"")
    assert api.get(f"{PATH}/by-external/a/b", headers={"If-None-Match": '"0"'}).status_code == 200


def test_an_external_id_leads_to_ones_own_order_only(
    api: Api, ordered: Ordered, stranger: Client
) -> None:
    theirs = ordered(stranger, external_id="o-1")
    for missing in ("o-1", "none", "%FF", "a%F0%28%8C%28", "x" * 5000):
        response = api.get(f"{PATH}/by-external/{missing}")
        assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")
    own = ordered(external_id="o-1")
    assert api.get(f"{PATH}/by-external/o-1").json()["id"] == str(own.pk) != str(theirs.pk)


def test_reading_needs_its_scope(shop: Client, ordered: Ordered) -> None:
    ordered(external_id="o-1")
    writer = Api(ApiKey.objects.issue(shop, ["orders:write"]))
    for path in (PATH, f"{PATH}/by-external/o-1"):
        assert writer.get(path).json()["type"] == "/problems/missing-scope"

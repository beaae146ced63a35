"""The list of orders: what narrows it, what it comes to, older ones, and its export."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client as HttpClient
from django.utils import timezone

from celery_ledger.testing import work_off
from ops.models import StaffAction
from orders.models import ApiKey, Client, Export, Order
from tests.ops.browsing import page_of, text
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
Body = Callable[..., dict[str, Any]]
LIST = "/ops/orders/"


@pytest.fixture
def four(api: Api, stock: Any, order_body: Body) -> list[Order]:
    """The oldest first: paid and tagged; declined; held; and one of another shop, in euros."""
    stock()
    api.place(order_body(external_id="a", tags=["gift"]), "a")
    api.place(order_body(external_id="b", payment={"token": "tok_declined", "attempts": 2}), "b")
    api.place(order_body(external_id="c"), "c")
    other = Api(ApiKey.objects.issue(Client.objects.create(name="other"), []))
    other.place(order_body(external_id="d", currency="EUR", payment={"method": "cod"}), "d")
    work_off()
    found = {order.external_id: order for order in Order.objects.all()}
    found["c"].hold("requested")
    return [found[name] for name in "abcd"]


def listed(page: HttpClient, query: str) -> str:
    """The external ids of the orders that are listed, in their order."""
    answer = page.get(f"{LIST}?{query}")
    assert answer.status_code == 200, answer.content.decode()
    ids = [order.pk for order in answer.context["hits"].orders]
    names = dict(Order.objects.values_list("pk", "external_id"))
    return "".join(names[id_] or "" for id_ in ids)


LEFT = {
    "": "dcba",
    "state=confirmed": "dca",
    "payment_state=failed": "b",
    "fulfilment_state=full": "",
    "held": "c",
    "held=true&state=confirmed": "c",
    "tag=gift": "a",
    "tag=gift&payment_state=failed": "",
    "state=confirmed&payment_state=paid": "ca",
    "client={other}": "d",
    "placed_from={today}": "dcba",
    "placed_from={tomorrow}": "",
    "placed_to={yesterday}": "",
    "placed_to={today}&state=reserved": "b",
    "q=hana@example.com&payment_state=failed": "b",
    "q=SAKE-NIGIRI&held": "c",
}


def test_a_filter_leaves_what_is_like_it(four: list[Order], hana: HttpClient) -> None:
    today = timezone.localdate()
    days = {
        name: today + timedelta(days=n)
        for name, n in (("yesterday", -1), ("today", 0), ("tomorrow", 1))
    }
    values = {"other": four[3].client_id, **days}
    assert {query: listed(hana, query.format(**values)) for query in LEFT} == LEFT


def test_what_is_left_is_added_up_by_currency_and_has_a_link(
    four: list[Order], hana: HttpClient
) -> None:
    page = " ".join(text(hana, f"{LIST}?state=confirmed").split())
    assert "3 orders:" in page
    assert '<span class="money">€6.60</span> + <span class="money">¥1,320</span>' in page
    assert "looked at" not in page


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=lost", "state"),
        ("client=nobody", "client"),
        ("placed_from=2026-13-01", "placed_from"),
        ("placed_to=9999-12-31", "placed_to"),
        ("tag=" + "x" * 41, "tag"),
        ("before=1", "before"),
    ],
)
def test_a_filter_that_cannot_be_is_named(hana: HttpClient, query: str, field: str) -> None:
    answer = hana.get(f"{LIST}?{query}")
    assert answer.status_code == 422
    assert list(answer.context["filter"].errors) == [field]
    assert "errorlist" in answer.content.decode()


def test_older_ones_are_a_page_further_and_what_was_not_looked_at_is_said(
    four: list[Order], hana: HttpClient, settings: LazySettings
) -> None:
    settings.OPS_ROWS_MAX, settings.OPS_LOOKED_AT_MAX = 1, 2
    seen, query = "", "state=confirmed"
    for _page in four:
        answer = hana.get(f"{LIST}?{query}")
        seen += listed(hana, query)
        if not answer.context["older"]:
            break
        query = answer.context["older"]
        assert query in answer.content.decode().replace("&amp;", "&")
    assert seen == "dca"
    for order in four[:2]:
        order.hold("requested")
    page = text(hana, f"{LIST}?held&payment_state=authorized")
    assert "None of the newest 2 is like that. Older ones were not looked at yet." in page
    assert "among the newest 2 that were looked at" in " ".join(text(hana, f"{LIST}?held").split())


def test_a_list_is_exported_with_its_filters_once(four: list[Order], hana: HttpClient) -> None:
    begin = f"{LIST}export/?q=hana@example.com&state=confirmed"
    assert "Choose a shop first" in hana.post(begin, follow=True).content.decode()
    begin += f"&client={four[0].client_id}"
    for _press in range(2):
        assert hana.post(begin)["Location"].startswith("/ops/files/exports/")
    export = Export.objects.get()
    assert export.filters == {"state": "confirmed", "email": "hana@example.com"}
    work_off()
    export.refresh_from_db()
    assert (export.state, export.orders) == ("done", 2)
    [action] = StaffAction.objects.all()
    assert (action.verb, action.subject) == ("export", f"export {export.pk}")
    assert "example.com" not in str(action.said), "whom it is about is kept in the export alone"
    assert "Export orders" in text(hana, "/ops/actions/")


def test_one_hit_is_opened_unless_a_filter_asks_for_a_list(
    four: list[Order], hana: HttpClient
) -> None:
    assert hana.get(LIST, {"q": "a"})["Location"] == page_of(four[0])
    assert hana.get(LIST, {"q": "a", "state": "confirmed"}).status_code == 200

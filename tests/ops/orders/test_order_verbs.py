"""What staff do from an order's page beyond its way to the customer: changes, notes, parcels that
were not sent, goods that come back, dead steps, and a person who wants to be forgotten.
"""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, transaction
from django.test import Client as HttpClient

from celery_ledger import Job
from celery_ledger.testing import work_off
from ops.models import StaffAction
from orders.models import Order, Remark, Stock
from tests.ops.browsing import log_in, page_of, text
from tests.postgres.hands import in_threads
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
Body = Callable[..., dict[str, Any]]
ADDRESS = {"name": "佐藤 花", "line1": "神南1-2-3", "city": "渋谷区", "country": "JP"}


def typed(page: HttpClient, where: str, **changes: Any) -> dict[str, Any]:
    """What a browser sends of the form there, with these answers changed."""
    form = page.get(where).context["form"]
    values = {name: form[name].value() for name in form.fields}
    version = form.target.version if isinstance(form.target, Order) else form.target.order.version
    sent = {name: value for name, value in values.items() if value not in (None, False)}
    return {**sent, "version": version, **changes}


def part_of(order: Order, verb: str, part: Any) -> str:
    return f"{page_of(order, verb)}{part.pk}/"


# --- whom it is for, and what is noted of it ------------------------------------------------------


def test_what_is_edited_is_shown_before_and_only_that_changes(
    api: Api, stock: Any, order_body: Body, hana: HttpClient
) -> None:
    stock()
    people = {"customer": {"name": "佐藤 花", "external_id": "c-1"}, "shipping_address": ADDRESS}
    api.place(order_body(**people, note="two\r\nlines", tags=["gift"], metadata={"table": "7"}))
    order = Order.objects.get()
    where = page_of(order, "edit")
    assert "Nothing is changed yet." in text(hana, where)
    assert hana.post(where, typed(hana, where)).status_code == 422
    changes = {
        "email": "ken@example.com",
        "shipping_address_city": "港区",
        "tags": "gift\r\nvip\r\n",
    }
    look = hana.post(where, typed(hana, where, **changes, look="1")).content.decode()
    assert "E-mail: hana@example.com → ken@example.com" in look
    assert "City: 渋谷区 → 港区" in look
    before: dict[str, Any] = {**order.snapshot()}
    assert Order.objects.get().version == order.version
    assert hana.post(where, typed(hana, where, **changes)).status_code == 302
    after: dict[str, Any] = {**Order.objects.get().snapshot()}
    assert {name for name in after if after[name] != before[name]} == {
        *("email", "shipping_address", "tags", "version", "updated_at")
    }
    assert (after["shipping_address"] or {})["line1"] == "神南1-2-3"
    assert after["tags"] == ["gift", "vip"]
    [action] = StaffAction.of(order.pk)
    assert action.said == {"fields": "email, shipping_address, tags"}, "no person is kept there"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nobody"),
        ("email", ""),
        ("customer_name", "a\x07b"),
        ("customer_phone", "1" * 41),
        ("shipping_address_country", "XX"),
        ("billing_address_postal_code", "!!"),
        ("note", "n" * 2001),
        ("tags", "same\nsame"),
        ("tags", "x" * 41),
        ("metadata", "m" * 50 + ": 1"),
        ("metadata", "no pair"),
        ("metadata", "twice: 1\ntwice: 2"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(
    placed: Order, hana: HttpClient, field: str, value: str
) -> None:
    where = page_of(placed, "edit")
    answer = hana.post(where, typed(hana, where, **{field: value}))
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert Order.objects.get().version == placed.version


def test_a_note_stands_on_the_line_of_time_once_and_goes_with_the_person(
    placed: Order, api: Api, hana: HttpClient, ken: HttpClient
) -> None:
    form = {"version": placed.version, "text": "She rang: <b>ring twice</b>"}
    for who in (hana, ken):  # the other has seen an older page, and it is a note all the same
        assert who.post(page_of(placed, "note"), form).status_code == 302
    assert ken.post(page_of(placed, "note"), form).status_code == 422, "pressed twice"
    assert "hana: She rang: &lt;b&gt;ring twice&lt;/b&gt;" in text(hana, page_of(placed))
    assert Order.objects.get().version == placed.version
    kept = post(api, "/v1/customers/export", {"email": "hana@example.com"}).json()
    assert [remark["who"] for remark in kept["data"][0]["remarks"]] == ["hana", "ken"]

    assert page_of(placed, "erase") not in text(hana, page_of(placed)), "it is under way"
    ship = {"version": placed.version, "line_0": 2, "carrier": "", "tracking": ""}
    assert hana.post(page_of(placed, "fulfil"), ship).status_code == 302
    page = text(hana, page_of(placed, "erase"))
    assert "1 order of hana@example.com at shop is touched." in page
    assert Remark.objects.count() == 2
    ended = Order.objects.get()
    assert hana.post(page_of(ended, "erase"), {"version": ended.version}).status_code == 302
    work_off()
    assert Order.objects.get().email == ""
    assert not Remark.objects.exists()
    page = text(hana, page_of(placed))
    assert ("example.com" in page, "ring twice" in page, "佐藤" in page) == (False, False, False)
    assert page_of(placed, "edit") not in page


# --- goods ----------------------------------------------------------------------------------------


def test_a_parcel_that_was_not_sent_is_taken_back_beside_it(
    placed: Order, hana: HttpClient
) -> None:
    form = {"line_0": 2, "carrier": "yamato", "tracking": "4711-0815-1234"}
    hana.post(page_of(placed, "fulfil"), {"version": placed.version, **form})
    parcel = placed.fulfilments.get()
    page = text(hana, page_of(placed))
    assert f'href="{parcel.tracking_url}"' in page
    assert part_of(placed, "unship", parcel) in page
    assert "completed → confirmed" in text(hana, part_of(placed, "unship", parcel))
    version = Order.objects.get().version
    for status in (302, 409):  # pressed twice
        answer = hana.post(part_of(placed, "unship", parcel), {"version": version})
        assert answer.status_code == status
    order = Order.objects.get()
    assert (order.state, order.units_fulfilled) == ("confirmed", 0)
    assert "was not sent" in text(hana, page_of(placed))
    assert StaffAction.of(order.pk).last().said == {"of": "4711-0815-1234"}  # type: ignore[union-attr]


def test_goods_come_back_their_money_goes_and_some_are_sold_again(
    placed: Order, hana: HttpClient
) -> None:
    hana.post(page_of(placed, "fulfil"), typed(hana, page_of(placed, "fulfil")))
    announce = page_of(placed, "announce")
    for reason in ("too small", "changed her mind"):
        form = typed(hana, announce, line_0=1, reason=reason)
        assert hana.post(announce, form).status_code == 302
    first, second = placed.returns.order_by("pk")
    receive = part_of(placed, "receive", first)
    assert "¥330" in text(hana, receive)
    assert hana.post(receive, typed(hana, receive, amount="400")).status_code == 422
    assert hana.post(receive, typed(hana, receive, amount="300", restock="")).status_code == 302
    cancel = part_of(placed, "cancel_return", second)
    assert hana.post(cancel, typed(hana, cancel)).status_code == 302
    work_off()
    order, line = Order.objects.get(), placed.lines.get()
    assert (order.refunded, line.returned, line.announced) == (300, 1, 0)
    assert Stock.objects.get().on_hand == 98, "what came back is not sold again"
    page = text(hana, page_of(placed))
    for sentence in (
        "too small",
        "¥300 paid back",
        "1 here, 0 to be sold again",
        "does not come back",
    ):
        assert sentence in " ".join(page.split()), sentence
    assert hana.get(receive).content.decode().count("This order is beyond that.") == 1


def test_a_piece_is_taken_off_and_the_shipping_is_paid_back(
    api: Api, stock: Any, order_body: Body, hana: HttpClient
) -> None:
    stock()
    api.place(order_body(shipping={"amount": 500, "tax": 50}, total=1210))
    work_off()
    order = Order.objects.get()
    withdraw, refund = page_of(order, "withdraw"), page_of(order, "refund")
    assert "Name a piece that is not to be sent." in text(hana, withdraw)
    assert hana.post(withdraw, typed(hana, withdraw, line_0=1)).status_code == 302
    for amount in ("551", "1.5", "-1", "ten"):
        answer = hana.post(refund, typed(hana, refund, shipping=amount))
        assert answer.status_code == 422
        assert list(answer.context["form"].errors) == ["shipping"], amount
    assert hana.post(refund, typed(hana, refund, shipping="550")).status_code == 302
    work_off()
    order.refresh_from_db()
    assert (order.refunded, order.units, order.shipping_refunded) == (330 + 550, 1, 550)
    assert (Stock.objects.get().reserved, order.state) == (1, "confirmed")
    assert "shipping" not in hana.get(refund).context["form"].fields


@pytest.mark.parametrize("verb", ["unship", "receive", "cancel_return", "retry"])
def test_a_part_of_another_order_or_of_none_is_not_there(
    placed: Order, hana: HttpClient, verb: str
) -> None:
    assert hana.get(page_of(placed, verb)).status_code == 404
    assert hana.get(f"{page_of(placed, verb)}{uuid4()}/").status_code == 404
    assert hana.get(f"{page_of(placed, 'hold')}{uuid4()}/").status_code == 404


# --- steps that died, and orders that somebody is at ----------------------------------------------


def test_a_dead_step_is_tried_again_from_its_orders_page(
    api: Api, stock: Any, order_body: Body, hana: HttpClient
) -> None:
    stock()
    api.place(order_body())
    reserve = Job.objects.filter(task="orders.tasks.reserve")
    reserve.update(
        state="dead", finished_at="2026-01-01T00:00Z", error={"type": "E", "message": "boom"}
    )
    order, job = Order.objects.get(), reserve.get()
    where = part_of(order, "retry", job)
    assert where in text(hana, page_of(order))
    assert "waits again and is due now" in text(hana, where)
    assert reserve.get().state == "dead", "it was a rehearsal"
    for status in (302, 404):  # pressed twice
        assert hana.post(where, {"version": order.version}).status_code == status
    work_off()
    order.refresh_from_db()
    assert order.state == "confirmed"
    assert "hana: Try it again" in text(hana, page_of(order))


def test_an_order_that_somebody_is_at_is_not_waited_for(placed: Order, hana: HttpClient) -> None:
    def look(where: str) -> tuple[int, str]:
        try:
            answer = hana.get(where)
            return answer.status_code, answer.content.decode()
        finally:
            connections.close_all()

    with transaction.atomic():
        Order.objects.locked(placed.pk)
        [(status, page)] = in_threads(look, [page_of(placed, "cancel")], hands=1)
    assert status == 503
    assert "a worker or somebody else is at this order right now" in page


def test_who_may_only_look_sees_no_verb_of_a_part(
    placed: Order, hana: HttpClient, django_user_model: Any
) -> None:
    hana.post(page_of(placed, "fulfil"), typed(hana, page_of(placed, "fulfil")))
    looker, parcel = log_in(django_user_model, "looker", "look"), placed.fulfilments.get()
    assert part_of(placed, "unship", parcel) not in text(looker, page_of(placed))
    assert looker.post(part_of(placed, "unship", parcel), {"version": 9}).status_code == 403

"""A customer withdraws from the contract on the order's page: two steps, no reason, once."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client as HttpClient
from django.utils import timezone

from celery_ledger.testing import work_off
from notifications.events import timeline
from orders.models import Fulfilment, Order, Return
from tests.demo.pages import Placed, status_page, text
from tests.demo.withdrawing import (
    BUTTON,
    ENGLISH,
    Bought,
    kinds,
    mails,
    now,
    receipt,
    units,
    withdrawn,
)
from tests.postgres.hands import in_threads

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("within_two_weeks")]
# --- the way there --------------------------------------------------------------------------------


def test_the_button_leads_to_a_statement_and_its_confirmation_withdraws(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought()
    page = status_page(visitor, order).content.decode()
    [path] = re.findall(rf'<a class="button" href="([^"]+)">{BUTTON}</a>', page)
    statement = visitor.get(path)
    assert (
        f"I hereby withdraw from the contract of order {order.number} of "
        f"{timezone.localtime(order.created_at):%Y-%m-%d %H:%M}. Salmon nigiri × 2 ¥600"
    ) in text(statement)
    assert "A receipt goes to h•••@example.com at once." in text(statement)
    assert "no-store" in statement["Cache-Control"]
    assert statement["X-Robots-Tag"] == "noindex"
    assert '<button class="main">Confirm withdrawal</button>' in statement.content.decode()
    assert now(order).withdrawn_at is None  # to read it is not to say it
    answer = withdrawn(visitor, order, name="Hana")
    assert (answer.status_code, answer["Location"]) == (303, f"/o/{order.public_token}/")
    page = text(status_page(visitor, order))
    assert "You have withdrawn from the contract" in page
    assert "What you paid, ¥600, is paid back." in page
    assert f"Received on {timezone.localtime(now(order).withdrawn_at):%Y-%m-%d %H:%M:%S}" in page
    assert BUTTON not in page


def test_where_the_setting_is_off_there_is_no_button_and_no_withdrawal(
    visitor: HttpClient, bought: Bought, settings: Any
) -> None:
    settings.SHOP = {**settings.SHOP, "withdrawal_days": 0}
    order = bought()
    assert BUTTON not in text(status_page(visitor, order))
    assert "cannot be withdrawn from any more" in text(
        visitor.get(f"/o/{order.public_token}/withdraw/")
    )
    assert withdrawn(visitor, order).status_code == 409
    assert (now(order).withdrawn_at, now(order).state) == (None, "confirmed")


def test_a_stranger_and_another_site_withdraw_nothing(visitor: HttpClient, bought: Bought) -> None:
    order = bought()
    assert visitor.post("/o/nothing/withdraw/").status_code == 404
    careful = HttpClient(enforce_csrf_checks=True)
    path = f"/o/{order.public_token}/withdraw/"
    assert careful.post(path).status_code == 403
    assert visitor.put(path).status_code == 405
    assert now(order).withdrawn_at is None
    page = careful.get(path).content.decode()
    [token] = re.findall(r'<main.*name="csrfmiddlewaretoken" value="(\w+)"', page, re.DOTALL)
    assert careful.post(path, {"csrfmiddlewaretoken": token}).status_code == 303
    assert now(order).withdrawn_at is not None


@pytest.mark.parametrize("name", ["x" * 201, "a\nb", "a\x00b"])
def test_a_name_that_cannot_be_is_refused_at_its_field(
    visitor: HttpClient, bought: Bought, name: str
) -> None:
    answer = withdrawn(visitor, bought(), name=name)
    assert answer.status_code == 422
    assert "Enter a name of one line, up to 200 characters." in text(answer)
    assert Order.objects.get().withdrawn_at is None


def test_the_pages_speak_japanese(visitor: HttpClient, bought: Bought) -> None:
    order = bought(sent=1)
    Order.objects.update(locale="ja")
    assert "契約の撤回はこちら" in text(status_page(visitor, order))
    statement = text(visitor.get(f"/o/{order.public_token}/withdraw/"))
    assert f"注文 {order.number} の契約を撤回します。" in statement
    assert "撤回を確定する" in statement
    assert not ENGLISH.search(statement)
    withdrawn(visitor, order)
    page = text(status_page(visitor, order))
    assert "契約の撤回を承りました" in page
    assert "うち1点はご返送をお待ちしています" in page


# --- what it sets going ---------------------------------------------------------------------------


def test_what_was_not_sent_is_cancelled_and_paid_back(visitor: HttpClient, bought: Bought) -> None:
    order = bought()
    withdrawn(visitor, order)
    order = now(order)
    assert (order.state, order.reason, order.refunded) == ("cancelled", "withdrawn", 600)
    assert (units(order), Return.objects.count()) == ((0, 2, 0), 0)
    assert kinds(order)[3:] == ["cancelled", "withdrawn", "refunded"]
    assert mails(order) == ["withdrawn", "refunded"]


def test_what_was_sent_is_announced_and_the_rest_paid_back(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought(sent=1)
    withdrawn(visitor, order)
    order = now(order)
    assert (order.state, order.reason, order.refunded) == ("completed", "withdrawn", 300)
    assert units(order) == (1, 1, 1)
    [come] = Return.objects.all()
    assert (come.state, come.reason, come.lines[0]["quantity"]) == ("announced", "withdrawn", 1)
    assert kinds(order)[4:] == ["completed", "return_announced", "withdrawn", "refunded"]
    assert mails(order) == ["withdrawn", "refunded"]
    assert "Of the ¥600 that you paid, ¥300 is paid back." in text(status_page(visitor, order))


def test_all_that_was_sent_is_announced_and_its_money_waits_for_it(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought(sent=2)
    withdrawn(visitor, order)
    assert (now(order).state, now(order).refunded, units(order)) == ("completed", 0, (2, 0, 2))
    assert kinds(order)[5:] == ["return_announced", "withdrawn"]
    assert "2 to send back" in text(status_page(visitor, order))


def test_goods_that_the_shop_expects_already_are_announced_once(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought(sent=2)
    with transaction.atomic():
        locked = Order.objects.locked(order.pk)
        Return.objects.announce(locked, [(locked.own_lines[0], 1)], reason="broken")
    withdrawn(visitor, order)
    announced = [come.lines[0]["quantity"] for come in Return.objects.order_by("pk")]
    assert (announced, units(order)) == ([1, 1], (2, 0, 2))


@pytest.mark.parametrize("state", ["received", "reserved"])
def test_an_order_that_is_not_paid_yet_is_never_charged(
    visitor: HttpClient, placed: Placed, state: str
) -> None:
    order = placed()
    if state == "reserved":
        with transaction.atomic():
            locked = Order.objects.locked(order.pk)
            locked.reserve()
            locked.intend_charge()
    withdrawn(visitor, order)
    assert (now(order).state, now(order).captured) == ("cancelled", 0)
    assert "You have not been charged." in text(status_page(visitor, order))


def test_a_withdrawal_is_shown_to_the_shop(visitor: HttpClient, bought: Bought) -> None:
    order = bought()
    assert order.snapshot()["withdrawal"] is None
    withdrawn(visitor, order, name=" 花 ")
    withdrawal, withdrawn_at = now(order).snapshot()["withdrawal"], now(order).withdrawn_at
    assert withdrawn_at
    lines = [{"position": 0, "sku": "SAKE-NIGIRI", "quantity": 2}]
    assert withdrawal == {"at": withdrawn_at.isoformat(), "name": "花", "lines": lines}
    assert timeline(order.pk).get(kind="order.withdrawn").data["order"]["withdrawal"] == withdrawal


# --- until when, and once -------------------------------------------------------------------------


def test_it_ends_so_many_days_after_the_last_parcel_has_left(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought(sent=2)
    Fulfilment.objects.update(created_at=timezone.now() - timedelta(days=13, hours=23))
    assert BUTTON in text(status_page(visitor, order))
    Fulfilment.objects.update(created_at=timezone.now() - timedelta(days=14, hours=1))
    assert BUTTON not in text(status_page(visitor, order))
    answer = withdrawn(visitor, order)
    assert (answer.status_code, now(order).withdrawn_at) == (409, None)
    assert "cannot be withdrawn from any more" in text(answer)


def test_a_parcel_that_never_left_begins_no_days(visitor: HttpClient, bought: Bought) -> None:
    order = bought(sent=1)
    Fulfilment.objects.update(created_at=timezone.now() - timedelta(days=15))
    with transaction.atomic():
        locked = Order.objects.locked(order.pk)
        Fulfilment.objects.ship(locked).cancel()
        locked.cancel("requested")
    assert (now(order).state, BUTTON in text(status_page(visitor, order))) == ("completed", False)


def test_as_long_as_something_is_to_be_sent_the_days_have_not_begun(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought(sent=1)
    Fulfilment.objects.update(created_at=timezone.now() - timedelta(days=30))
    assert BUTTON in text(status_page(visitor, order))
    withdrawn(visitor, order)
    assert units(order) == (1, 1, 1)


def test_from_what_is_back_or_cancelled_nobody_withdraws(
    visitor: HttpClient, bought: Bought
) -> None:
    order = bought(sent=2)
    with transaction.atomic():
        Return.objects.announce(Order.objects.locked(order.pk), reason="x").receive()
    assert BUTTON not in text(status_page(visitor, order))
    cancelled = bought()
    with transaction.atomic():
        Order.objects.locked(cancelled.pk).cancel("requested")
    assert BUTTON not in text(status_page(visitor, cancelled))
    assert {withdrawn(visitor, each).status_code for each in (order, cancelled)} == {409}


def test_clicking_twice_withdraws_once(visitor: HttpClient, bought: Bought) -> None:
    order = bought(sent=1)
    first, second = withdrawn(visitor, order, name="Hana"), withdrawn(visitor, order, name="Jiro")
    assert first["Location"] == second["Location"]
    assert visitor.get(f"/o/{order.public_token}/withdraw/").status_code == 303
    assert (now(order).withdrawn_by, kinds(order).count("withdrawn")) == ("Hana", 1)


def test_eight_clicks_in_one_moment_withdraw_once(visitor: HttpClient, bought: Bought) -> None:
    order = bought(sent=1)
    path = f"/o/{order.public_token}/withdraw/"
    answers = in_threads(lambda _: HttpClient().post(path).status_code, list(range(8)))
    assert answers == [303] * 8
    work_off()
    assert (kinds(order).count("withdrawn"), Return.objects.count()) == (1, 1)
    assert (now(order).refunded, units(order)) == (300, (1, 1, 1))


# --- the receipt ----------------------------------------------------------------------------------


def test_the_receipt_says_what_was_declared_and_when(visitor: HttpClient, bought: Bought) -> None:
    order = bought()
    before = timezone.now()
    withdrawn(visitor, order, name="Hana")
    subject, body = receipt(order)
    assert subject == f"We have your withdrawal from order {order.number}"
    [minute] = re.findall(r"It reached us on (.*) JST:", body)
    received_at = datetime.fromisoformat(f"{minute}+09:00")
    assert before.replace(microsecond=0) <= received_at <= timezone.now()
    assert f"I hereby withdraw from the contract of order {order.number} of " in body
    for words in ("Salmon nigiri × 2", "Name: Hana", "Receipt to: hana@example.com"):
        assert words in body
    assert "What you paid, ¥600, goes back to you." in body
    assert "send this back" not in body
    assert "&" not in body


def test_the_receipt_names_what_is_to_be_sent_back(visitor: HttpClient, bought: Bought) -> None:
    order = bought(sent=1)
    withdrawn(visitor, order)
    _, body = receipt(order)
    assert re.search(r"Please send this back to us.*\n\n  Salmon nigiri × 1\n", body)
    assert "Of the ¥600 that you paid, ¥300 goes back to you." in body
    assert "Name:" not in body
    whole = bought(sent=2)
    withdrawn(visitor, whole)
    assert "nothing is paid back" not in receipt(whole)[1]


def test_the_receipt_in_japanese(visitor: HttpClient, bought: Bought) -> None:
    order = bought(sent=1)
    Order.objects.update(locale="ja-JP")
    withdrawn(visitor, order, name="花")
    subject, body = receipt(order)
    assert subject == f"ご注文 {order.number} の契約の撤回を承りました"
    for words in ("JST に承りました", "お名前: 花", "ご返送ください", "¥300 をご返金いたします"):
        assert words in body, words
    assert not ENGLISH.search(body)

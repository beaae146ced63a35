"""Addresses that nothing is mailed to, on the staff pages: found, put on, taken off, in words."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client as HttpClient
from django.utils import timezone

from celery_ledger.testing import work_off
from notifications.models import Delivery, Suppression
from ops.models import StaffAction
from orders.models import Order
from tests.doubles.edges import Postbox
from tests.ops.browsing import log_in, page_of, text
from tests.postgres.plans import plans_of

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/ops/told/suppressed/"
GONE = "hana@example.com"  # who has placed the order


def listed() -> Suppression:
    return Suppression.objects.get()


def page_of_address() -> str:
    return f"{LIST}{listed().pk}/"


def verbs() -> list[str]:
    mine = StaffAction.objects.filter(verb__endswith="suppress_address").order_by("pk")
    return [f"{one.verb} {one.said['reason']}" for one in mine]


@pytest.fixture
def put_on(hana: HttpClient, placed: Order, postbox: Postbox) -> Suppression:
    """The address of the order's customer, on the list."""
    form = {"address": "Hana@EXAMPLE.com", "reason": "asked by phone"}
    assert hana.post(f"{LIST}new/", form).status_code == 302
    return listed()


@pytest.fixture
def not_sent(put_on: Suppression, hana: HttpClient) -> Delivery:
    """A mail to it that is tried again."""
    mail = Delivery.objects.filter(channel="mail").order_by("pk")[0]
    assert hana.post(again(mail)).status_code == 302
    work_off()
    return mail


def again(mail: Delivery) -> str:
    return f"/ops/told/deliveries/{mail.pk}/again/"


def test_an_address_is_put_on_once_and_found_with_why(
    hana: HttpClient, put_on: Suppression
) -> None:
    assert (put_on.address, put_on.why, put_on.who) == (GONE, "staff", "hana")
    form = {"address": "Hana@EXAMPLE.com", "reason": "asked by phone"}
    assert hana.post(f"{LIST}new/", form).status_code == 302
    page = text(hana, LIST)
    assert "it is on the list already" in page
    assert (GONE in page, "staff say so" in page, "asked by phone" in page) == (True, True, True)
    assert hana.get(LIST, {"address": GONE.upper()})["Location"] == page_of_address()
    assert "is not on the list." in text(hana, f"{LIST}?address=ann@example.com")


def test_an_empty_list_says_so(hana: HttpClient) -> None:
    assert "Every address is mailed." in text(hana, LIST)


def test_its_mail_says_wherever_it_stands_that_it_is_not_mailed(
    hana: HttpClient, placed: Order, not_sent: Delivery
) -> None:
    page = text(hana, f"/ops/told/deliveries/{not_sent.pk}/")
    assert "not mailed</span>" in page
    assert "Nothing is mailed to this address since" in page
    assert (page_of_address() in page, again(not_sent) in page) == (True, False)
    page = text(hana, page_of(placed))
    assert "not sent, nothing is mailed to this address" in page
    assert f'<a href="{page_of_address()}">not mailed</a>' in page, "beside the address"
    given_up = text(hana, "/ops/told/").partition("Mails that were given up")[2]
    assert f"/ops/told/deliveries/{not_sent.pk}/" not in given_up, "it needs nobody"
    assert "not mailed</span>" in text(hana, "/ops/told/deliveries/?channel=mail&state=failed")


def test_an_address_is_taken_off_once_and_why_is_to_be_said(
    hana: HttpClient, put_on: Suppression
) -> None:
    path = page_of_address()
    assert "asked by phone" in text(hana, path)
    answer = hana.post(path, {"reason": ""})
    assert (answer.status_code, Suppression.objects.count()) == (422, 1), "why is to be said"
    for expected in ("It is mailed again from now on.", "it was taken off already"):
        assert hana.post(path, {"reason": "a new mailbox"})["Location"] == LIST
        assert expected in text(hana, LIST)
    assert hana.get(path).status_code == 404
    assert verbs() == ["suppress_address asked by phone", "unsuppress_address a new mailbox"]
    named = [one for one in StaffAction.objects.all() if "hana@" in f"{one.subject}{one.said}"]
    assert named == [], "who is erased stands nowhere else"


def test_once_it_is_taken_off_its_mail_goes_out(
    hana: HttpClient, not_sent: Delivery, postbox: Postbox
) -> None:
    arrived = len(postbox.mails)
    assert hana.post(page_of_address(), {"reason": "a new mailbox"}).status_code == 302
    Delivery.objects.update(resent_at=None)
    assert hana.post(again(not_sent)).status_code == 302
    work_off()
    assert len(postbox.mails) == arrived + 1


def test_who_may_look_sees_it_and_changes_nothing_and_bad_input_is_named(
    hana: HttpClient, django_user_model: Any
) -> None:
    Suppression.objects.add(GONE, why="bounced", details="<b>550</b>")
    looker, nobody = (
        log_in(django_user_model, "looker", "look"),
        log_in(django_user_model, "nobody"),
    )
    page = text(looker, page_of_address())
    assert ("&lt;b&gt;550" in page, "Mail there again" in page) == (True, False)
    assert f"{LIST}new/" not in text(looker, LIST)
    for path in (LIST, page_of_address(), f"{LIST}new/"):
        assert nobody.get(path).status_code == 403
    assert looker.post(page_of_address(), {"reason": "x"}).status_code == 403
    assert looker.post(f"{LIST}new/", {"address": "a@b.c", "reason": "x"}).status_code == 403
    for wrong in ({}, {"address": "hana", "reason": "x"}, {"address": "a@b.c", "reason": ""}):
        assert hana.post(f"{LIST}new/", wrong).status_code == 422
    assert (
        "No mail can go to this address."
        in hana.post(f"{LIST}new/", {"address": "hana at home", "reason": "x"}).content.decode()
    )
    assert Suppression.objects.count() == 1
    for path in (f"{LIST}?before=x", f"{LIST}{2**70}/", f"{LIST}0/"):
        assert hana.get(path).status_code == 404, path
    assert hana.post(f"{LIST}{2**70}/", {"reason": "x"}).status_code == 302
    assert hana.get(f"{LIST}?address={'x' * 999}").status_code == 200


def test_the_list_is_bounded_goes_on_and_speaks_japanese(
    hana: HttpClient, settings: Any, placed: Order
) -> None:
    settings.OPS_ROWS_MAX = 3
    for number in range(7):
        Suppression.objects.add(f"x{number}@example.com", why="complained")
    first = text(hana, LIST)
    rows = list(Suppression.objects.newest().values_list("pk", flat=True))
    assert [f"{LIST}{pk}/" in first for pk in rows[:4]] == [True, True, True, False]
    assert f"{LIST}{rows[3]}/" in text(hana, f"{LIST}?before={rows[2]}")
    Suppression.objects.add("hana@example.com", why="bounced")
    hana.cookies["django_language"] = "ja"
    for path in (LIST, page_of_address_of(GONE), f"{LIST}new/"):
        page = text(hana, path)
        assert "メールを送らない宛先" in page
        assert "mailed" not in page.partition("<main")[2], path


def page_of_address_of(address: str) -> str:
    one = Suppression.objects.of(address)
    assert one
    return f"{LIST}{one.pk}/"


def test_a_long_list_costs_no_more_than_a_short_one(hana: HttpClient) -> None:
    rows = (
        Suppression(address=f"x{number}@example.com", why="bounced", since="2026-11-01T00:00Z")
        for number in range(30_000)
    )
    Suppression.objects.bulk_create(rows, batch_size=5000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE notifications_suppression")
    middle = Suppression.objects.newest()[15_000].pk
    paths = (LIST, f"{LIST}?before={middle}", f"{LIST}?address=x77@example.com", f"{LIST}{middle}/")
    for path in paths:
        cost = sum(plan.buffers for plan in plans_of(lambda path=path: hana.get(path)))  # type: ignore[misc]
        assert cost < 200, (path, cost)
    now = timezone.now()
    asked = {
        "of": lambda: Suppression.objects.of("x77@example.com"),
        "came": lambda: list(Suppression.objects.came(now - timedelta(days=4), now)[:201]),
    }
    for name, ask in asked.items():
        assert sum(plan.buffers for plan in plans_of(ask)) < 10, name

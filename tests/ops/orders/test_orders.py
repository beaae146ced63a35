"""The staff pages: who may open them, how an order is found, what its page says, what is done."""

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test import Client as HttpClient
from django.utils import timezone
from django.utils.translation import override

from celery_ledger import Job, Worker
from celery_ledger.testing import work_off
from notifications.models import Delivery, Event
from ops.models import StaffAction
from ops.orders import timeline
from orders.models import Client, Order, Stock
from orders.tasks import reserve
from tests.celery_ledger import past
from tests.ops.browsing import log_in, page_of, text
from tests.postgres.hands import in_threads
from tests.postgres.plans import plans_of
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
Body = Callable[..., dict[str, Any]]
PAGE_BUFFERS_MAX = 1000


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "orders/", "orders/{order}/", "orders/{order}/hold/"])
def test_a_stranger_is_led_to_the_login_and_back(placed: Order, path: str) -> None:
    where = f"/ops/{path.format(order=placed.pk)}"
    response = HttpClient().get(where)
    assert (response.status_code, response["Location"]) == (302, f"/admin/login/?next={where}")


def test_who_has_no_permission_sees_nothing_and_who_may_look_changes_nothing(
    placed: Order, django_user_model: Any
) -> None:
    nobody = log_in(django_user_model, "nobody")
    assert nobody.get(page_of(placed)).status_code == 403
    looker = log_in(django_user_model, "looker", "look")
    assert page_of(placed, "cancel") not in text(looker, page_of(placed))
    form = {"version": placed.version, "reason": "staff"}
    assert looker.get(page_of(placed, "cancel")).status_code == 403
    assert looker.post(page_of(placed, "cancel"), form).status_code == 403
    assert Order.objects.get().version == placed.version


def test_no_page_is_kept_by_a_browser(placed: Order, hana: HttpClient) -> None:
    for path in ("/ops/", "/ops/orders/", page_of(placed), page_of(placed, "hold")):
        assert "no-store" in hana.get(path)["Cache-Control"], path


# --- finding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "term",
    [
        "{number}",
        "{number:dashless}",
        "{id}",
        "shop-1042",
        "HANA@example.com",
        "佐藤花",
        "+81 3 1234 5678",
        "SAKE-NIGIRI",
    ],
)
def test_one_box_finds_it_by_whatever_one_has(placed: Order, hana: HttpClient, term: str) -> None:
    term = term.replace("{number:dashless}", placed.number.replace("-", "").lower())
    response = hana.get("/ops/orders/", {"q": term.format(number=placed.number, id=placed.pk)})
    assert (response.status_code, response["Location"]) == (302, page_of(placed))


def test_what_is_not_found_says_what_could_be_looked_for(placed: Order, hana: HttpClient) -> None:
    page = hana.get("/ops/orders/", {"q": "<b>nobody</b>" + "x" * 5000}).content.decode()
    assert "Look for a number with or without its dash" in page
    assert "<b>nobody" not in page
    assert placed.number in text(hana, "/ops/orders/")
    assert placed.number not in text(hana, "/ops/orders/?held")


def test_a_jobs_id_leads_to_its_story(placed: Order, hana: HttpClient) -> None:
    job = Job.objects.filter(task="orders.tasks.reserve").get()
    response = hana.get("/ops/orders/", {"q": str(job.pk)})
    assert response["Location"] == f"/ops/jobs/{job.pk}/"
    assert "orders.tasks.reserve" in text(hana, response["Location"])
    assert "It was promised at" in text(hana, response["Location"])


# --- one order ------------------------------------------------------------------------------------


def test_everything_that_happened_stands_in_its_order(placed: Order, hana: HttpClient) -> None:
    page = text(hana, page_of(placed))
    happened = [
        "order.received",
        "order.reserved",
        "reserve, done in",
        "order.confirmed",
        "charge, done",
    ]
    places = [page.index(word) for word in happened]
    assert places == sorted(places), places
    assert "charge ¥660: succeeded" in page
    assert "order.confirmed → hana@example.com" in page
    assert "hana@example.com" in page
    assert "It waits to be sent: 2 pieces." in page


def test_what_the_line_of_time_leaves_out_is_said(
    placed: Order, hana: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Not shown here:" not in text(hana, page_of(placed))
    for limit, number in (("EVENTS_MAX", 2), ("STRETCHES_MAX", 0), ("DELIVERIES_MAX", 0)):
        monkeypatch.setattr(timeline, limit, number)
    page = text(hana, page_of(placed))
    assert "order.received" not in page.partition("timeline")[2]
    for sentence in ("Events before the newest 2.", "Jobs of longer ago", "after the first 0."):
        assert sentence in page, sentence
    assert page.count('<li class="done">') == 4, "its way is known all the same"


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        ("tok_declined", "It has ended; nothing more happens by itself."),
        ("tok_confirm", "It waits for its customer, whose bank asks to confirm"),
    ],
)
def test_it_says_why_it_is_not_further(
    api: Api, stock: Any, order_body: Body, hana: HttpClient, token: str, sentence: str
) -> None:
    stock()
    api.place(order_body(payment={"token": token}))
    assert "It waits until its goods are set aside. Tried 0 times; it is due" in text(
        hana, page_of(Order.objects.get())
    )
    work_off()
    assert sentence in text(hana, page_of(Order.objects.get())), Order.objects.get().payment_state


def test_it_says_how_often_the_provider_was_asked_and_when_it_is_again(
    api: Api, stock: Any, order_body: Body, hana: HttpClient
) -> None:
    stock()
    api.place(order_body())
    order = Order.objects.get()
    with transaction.atomic():
        reserve.run(str(order.pk))
    charge = Job.objects.filter(task="orders.tasks.charge")
    assert charge.update(attempts=3, due_at=timezone.now() + timedelta(seconds=90)) == 1
    page = text(hana, page_of(order))
    assert re.search(
        r"It waits for the provider since \d\d:\d\d\. Tried 3 times; again in 8\d s", page
    )
    charge.update(state="running", token=uuid4(), lease_until=timezone.now())
    assert "A worker is at it." in text(hana, page_of(order))


def test_a_dead_job_is_named_and_tried_again_once(
    api: Api, stock: Any, order_body: Body, hana: HttpClient
) -> None:
    stock()
    api.place(order_body())
    Job.objects.filter(task="orders.tasks.reserve").update(
        state="dead", finished_at="2026-01-01T00:00Z", error={"type": "E", "message": "boom"}
    )
    order, job = Order.objects.get(), Job.objects.get(task="orders.tasks.reserve")
    assert "Its job reserve died." in text(hana, page_of(order))
    assert f"/ops/jobs/{job.pk}/" in text(hana, "/ops/")
    for sentence in ("Done: Try again.", "is waiting already"):
        answer = hana.post(f"/ops/jobs/{job.pk}/retry/", follow=True).content.decode()
        assert sentence in answer
    work_off()
    assert Order.objects.get().state == "confirmed"


# --- what is done ---------------------------------------------------------------------------------


def test_what_it_comes_to_is_said_before_and_nothing_is_written(
    placed: Order, hana: HttpClient
) -> None:
    rows = [model.objects.count() for model in (Event, Job, Delivery, StaffAction)]
    page = text(hana, page_of(placed, "cancel"))
    assert "confirmed → cancelled" in page
    assert "¥660" in page
    assert "2 → 0" in page
    assert "order.cancelled → hana@example.com" in page
    assert [model.objects.count() for model in (Event, Job, Delivery, StaffAction)] == rows
    assert (Order.objects.get().version, Stock.objects.get().reserved) == (placed.version, 2)


def test_a_verb_is_done_once_and_leaves_who_did_it(placed: Order, hana: HttpClient) -> None:
    form = {"version": placed.version, "reason": "requested"}
    response = hana.post(page_of(placed, "hold"), form)
    assert (response.status_code, response["Location"]) == (302, page_of(placed))
    again = hana.post(page_of(placed, "hold"), form)
    assert again.status_code == 409
    [action] = StaffAction.objects.all()
    assert (action.who, action.verb, action.said) == ("hana", "hold", {"reason": "requested"})
    assert (action.before["held"], action.after["held"]) == (False, True)
    page = text(hana, page_of(placed))
    assert "It is on hold: somebody asked for it. Release it, and it goes on." in page
    assert "hana: Put on hold (requested)" in page


def test_of_two_who_press_at_once_one_is_told_who_was_faster(
    placed: Order, hana: HttpClient, ken: HttpClient
) -> None:
    seen = str(placed.version)
    assert (
        hana.post(page_of(placed, "refund"), {"version": seen, "amount": "60"}).status_code == 302
    )
    late = ken.post(page_of(placed, "cancel"), {"version": seen, "reason": "staff"})
    assert late.status_code == 409
    page = late.content.decode()
    assert (
        "Nothing was done: meanwhile the order has changed. The last person here was hana" in page
    )
    assert "¥600" in page, "what it would come to now"
    assert Order.objects.get().state == "confirmed"
    assert StaffAction.objects.count() == 1


def test_of_six_hands_in_one_moment_one_gives_money_back(
    placed: Order, django_user_model: Any
) -> None:
    hands = [log_in(django_user_model, f"hand-{n}", "look", "operate") for n in range(6)]
    together, form = threading.Barrier(len(hands)), {"version": placed.version, "amount": "60"}

    def press(hand: HttpClient) -> int:
        together.wait(timeout=10)
        return hand.post(page_of(placed, "refund"), form).status_code

    answers = in_threads(press, hands, hands=len(hands))
    assert sorted(answers) == [302, *[409] * 5]
    assert (Order.objects.get().refund_pending, StaffAction.objects.count()) == (60, 1)


def test_a_held_order_is_released_and_goes_on(
    api: Api, stock: Any, order_body: Body, hana: HttpClient
) -> None:
    stock()
    api.place(order_body())
    order = Order.objects.get()
    hana.post(page_of(order, "hold"), {"version": order.version, "reason": "delayed"})
    work_off()
    order.refresh_from_db()
    assert order.state == "received"
    assert order.number in text(hana, "/ops/")
    hana.post(page_of(order, "release"), {"version": order.version})
    work_off()
    order.refresh_from_db()
    assert (order.state, order.held) == ("confirmed", False)
    assert "Nothing needs a person." in text(hana, "/ops/")


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        ("661", "660"),
        ("1.5", "could be read in two ways"),
        ("ten", "must be written like 1234.50"),
        ("-1", ""),
        ("0", ""),
    ],
)
def test_an_amount_that_cannot_be_is_refused_in_a_sentence(
    placed: Order, hana: HttpClient, amount: str, says: str
) -> None:
    answer = hana.post(page_of(placed, "refund"), {"version": placed.version, "amount": amount})
    assert answer.status_code == 422
    assert says in answer.content.decode()
    order = Order.objects.get()
    assert (order.refund_pending, order.version) == (0, placed.version)
    assert not StaffAction.objects.exists()


def test_what_an_order_is_beyond_is_not_offered_and_not_done(
    placed: Order, hana: HttpClient
) -> None:
    hana.post(page_of(placed, "cancel"), {"version": placed.version, "reason": "staff"})
    order = Order.objects.get()
    page = text(hana, page_of(order))
    assert page_of(order, "cancel") not in page
    assert "This order is beyond that." in text(hana, page_of(order, "cancel"))
    late = hana.post(page_of(order, "cancel"), {"version": order.version, "reason": "staff"})
    assert late.status_code == 409
    assert hana.get(page_of(order, "sing")).status_code == 404


def test_a_part_is_sent_and_a_piece_of_it_paid_back_by_its_line(
    placed: Order, hana: HttpClient
) -> None:
    form = {"version": placed.version, "line_0": 1, "carrier": "yamato", "tracking": "4711"}
    assert hana.post(page_of(placed, "fulfil"), form).status_code == 302
    order = Order.objects.get()
    assert (order.units_fulfilled, order.state) == (1, "confirmed")
    form = {"version": order.version, "line_0": 1, "amount": "", "restock": "on"}
    assert hana.post(page_of(order, "refund"), form).status_code == 302
    order, line = Order.objects.get(), order.lines.get()
    assert (order.refund_pending, line.returned + line.withdrawn) == (330, 1)
    assert [action.verb for action in StaffAction.of(order.pk)] == ["fulfil", "refund"]


def test_a_look_at_other_answers_is_rehearsed_and_done_by_nobody(
    placed: Order, hana: HttpClient
) -> None:
    form = {"version": placed.version, "line_0": 0, "amount": "60", "look": "1"}
    answer = hana.post(page_of(placed, "refund"), form)
    assert answer.status_code == 200
    assert "¥60<" in answer.content.decode()
    assert (Order.objects.get().refund_pending, StaffAction.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    "typed", [{}, {"line_0": 3}, {"line_0": -1}, {"line_0": "x"}, {"line_0": 1, "carrier": "a\nb"}]
)
def test_pieces_that_are_not_there_are_refused_at_their_field(
    placed: Order, hana: HttpClient, typed: dict[str, Any]
) -> None:
    form = {"version": placed.version, "carrier": "", "tracking": "", **typed}
    answer = hana.post(page_of(placed, "fulfil"), form)
    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()
    assert Order.objects.get().units_fulfilled == 0


def test_what_was_paid_elsewhere_is_noted(
    api: Api, stock: Any, order_body: Body, hana: HttpClient
) -> None:
    stock()
    api.place(order_body(payment={"method": "bank_transfer"}))
    work_off()
    order = Order.objects.get()
    assert "It waits to be marked as paid, until" in text(hana, page_of(order))
    form = {"version": order.version, "reference": "statement 12"}
    assert hana.post(page_of(order, "mark_paid"), form).status_code == 302
    order.refresh_from_db()
    assert (order.state, order.payment_state) == ("confirmed", "paid")


def test_a_mail_is_sent_again_once_and_stands_on_the_line_of_time(
    placed: Order, hana: HttpClient
) -> None:
    mail = Delivery.objects.get(event__kind="order.confirmed")
    where = f"/ops/told/deliveries/{mail.pk}/again/"
    assert where in text(hana, page_of(placed))
    for says in ("It is sent again.", "It is on its way already"):
        page = hana.post(where, {"back": "order"}, follow=True)
        assert (page.redirect_chain, says in page.content.decode()) == (
            [(page_of(placed), 302)],
            True,
        )
    work_off()
    mail.refresh_from_db()
    assert (mail.state, mail.attempts.count()) == ("delivered", 2)
    assert "hana: Send again (order.confirmed, mail)" in text(hana, page_of(placed))


def test_what_needs_a_person_is_on_the_belt_and_a_belt_without_workers_stands_still(
    placed: Order, hana: HttpClient
) -> None:
    Stock.objects.update(low_at=98, on_hand=100)
    mail = Delivery.objects.filter(event__kind="order.confirmed")
    mail.update(state="failed", delivered_at=None)
    page = text(hana, "/ops/")
    assert "The belt stands still" in page
    assert ("SAKE-NIGIRI" in page, "98 free" in page) == (True, True)
    assert "mail</a>: 1 given up" in page
    Worker.objects.beat(uuid4(), name="me", pid=1)
    assert "The belt is moving, and something needs you" in text(hana, "/ops/")


# --- in both languages, and cheap -----------------------------------------------------------------


def test_japanese_staff_read_japanese(placed: Order, hana: HttpClient) -> None:
    hana.cookies["django_language"] = "ja"
    for path in ("/ops/", "/ops/orders/", page_of(placed), page_of(placed, "cancel")):
        page = text(hana, path)
        assert 'lang="ja"' in page
        for english in (
            "Belt",
            "Orders",
            "What happened",
            "It waits",
            "What it comes to",
            "You are",
        ):
            assert english not in page, (path, english)


def test_no_page_looks_at_more_than_its_share_of_a_long_past(
    placed: Order, hana: HttpClient, shop: Client
) -> None:
    past.finish(20_000)
    past.promise(5_000, due="-1 h", rings="100 s")
    Job.objects.update(owner=str(shop.pk))
    Job.objects.filter(state="waiting").update(created_at=timezone.now() - timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE celery_ledger_job")
    for path in ("/ops/", "/ops/orders/", page_of(placed)):
        with override("en"):
            plans = plans_of(lambda path=path: hana.get(path))  # type: ignore[misc]
        assert sum(plan.buffers for plan in plans) < PAGE_BUFFERS_MAX, path

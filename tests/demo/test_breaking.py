"""The panel that breaks things, and the counter of orders lost and doubled."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as shop_settings
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import F
from django.template.loader import render_to_string
from django.test import Client as HttpClient
from django.test import RequestFactory
from redis import Redis

from celery_ledger.models import Job
from celery_ledger.operations.owned import called_with
from celery_ledger.testing import attempt, work_off
from config import urls
from demo import urls as demo_urls
from demo.breaking import counter, verbs
from demo.breaking.counter import standing
from demo.menu import OrderForm
from demo.tasks import flush_broker
from notifications.models import Delivery
from orders.models import Order
from orders.payments.models import PaymentOperation
from orders.payments.sandbox import Sandbox
from orders.payments.sandbox_book import SandboxCharge
from tests.demo.pages import Placed, filled_in, text
from tests.promises.processes import Stack
from tests.waiting import until

real_transactions = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def without_rests(settings: Any) -> None:
    settings.DEMO_BREAK_REST_S = 0


@pytest.fixture
def staff(seeded: None, django_user_model: Any) -> HttpClient:
    person = django_user_model.objects.create_user("hana", password="a long enough password")
    permission = Permission.objects.get(content_type__app_label="ops", codename="operate")
    person.user_permissions.add(permission)
    browser = HttpClient(headers={"Accept-Language": "en"})
    browser.force_login(person, "django.contrib.auth.backends.ModelBackend")
    return browser


def press(browser: HttpClient, verb: str, **typed: Any) -> Any:
    return browser.post("/break/", filled_in(verb=verb, **typed), follow=True)


def make(job: Job) -> None:
    """Its next attempt, now."""
    Job.objects.filter(pk=job.pk).update(due_at=F("created_at"))
    attempt(job)


def drop(table: str, constraint: str) -> None:
    """Until the test's transaction is rolled back."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")


def counted() -> tuple[int, int]:
    """Lost and doubled."""
    now = standing()
    return len(now.lost), len(now.doubled)


# --- the counter ----------------------------------------------------------------------------------


def test_whatever_the_card_does_nothing_is_lost_or_doubled(placed: Placed) -> None:
    for token in ("tok_ok", "tok_declined", "tok_flaky", "tok_webhook_twice", "tok_confirm"):
        placed(token=token)
    steps = 0
    while job := Job.objects.filter(state="waiting").order_by("due_at").first():
        assert counted() == (0, 0), f"before step {steps}: {job.task}"
        make(job)
        steps += 1
    assert counted() == (0, 0)
    assert standing().under_way == 0


def test_an_order_without_a_job_is_lost(visitor: HttpClient, placed: Placed) -> None:
    order, _other = placed(), placed()
    assert counted() == (0, 0)
    Job.objects.filter(called_with([str(order.pk)])).delete()
    assert standing().lost == [order]
    page = text(visitor.get("/"))
    assert "Something went wrong" in page
    assert "orders lost 1 orders doubled 0" in page


def test_an_order_whose_payment_nobody_makes_is_lost(placed: Placed) -> None:
    order = placed()
    [reserve] = Job.objects.filter(task="orders.tasks.reserve")
    make(reserve)
    assert counted() == (0, 0)
    Job.objects.filter(task="orders.tasks.charge").delete()
    assert standing().lost == [order]


def test_an_order_that_has_a_job_and_no_news_for_long_is_lost(placed: Placed) -> None:
    order = placed()
    Order.objects.update(updated_at=F("updated_at") - counter.LATE_AFTER - timedelta(seconds=1))
    assert standing().lost == [order]


def test_an_order_that_moves_while_it_is_looked_at_is_not_lost(
    placed: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed()
    served = counter._served

    def late(*args: Any) -> Any:
        work_off()
        return served(*args)

    monkeypatch.setattr(counter, "_served", late)
    assert counted() == (0, 0)


def test_one_key_that_made_two_orders_is_counted(placed: Placed) -> None:
    """Postgres refuses that, so its constraint has to go first."""
    first, second = placed(), placed()
    drop("orders_order", "order_external_id_once")
    Order.objects.filter(pk=second.pk).update(external_id=first.external_id)
    assert standing().doubled == {first.pk, second.pk}


def test_an_order_that_the_bank_charged_twice_is_counted(
    placed: Placed, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is lost, nobody asks before sending again, and the bank does not heed the key."""
    settings.PAYMENT_TIMEOUT_S = 0
    book = Sandbox._book
    monkeypatch.setattr(Sandbox, "find", lambda *_: None)
    monkeypatch.setattr(
        Sandbox, "_book", lambda self, intent: book(self, replace(intent, key=str(uuid4())))
    )
    order = placed(token="tok_timeout")
    for task in ("reserve", "charge", "charge"):
        make(Job.objects.get(task=f"orders.tasks.{task}"))
    assert SandboxCharge.objects.count() == 2
    assert standing().doubled == {order.pk}


def test_an_order_with_two_charges_in_our_book_is_counted(placed: Placed) -> None:
    order = placed()
    work_off()
    assert counted() == (0, 0)
    charge = order.operations.get()
    charge.pk, charge.key, charge.kind = uuid4(), "another", PaymentOperation.Kind.TRIED
    charge.save(force_insert=True)
    assert standing().doubled == {order.pk}


def test_a_mail_that_is_written_or_arrives_twice_is_counted(placed: Placed) -> None:
    order, other = placed(), placed()
    work_off()
    assert counted() == (0, 0)
    first = Delivery.objects.filter(event__subject=order.pk).latest("pk")
    first.attempts.create(ok=True, answer="accepted")
    Delivery.objects.filter(pk=first.pk).update(tries=2)
    assert standing().doubled == {order.pk}
    drop("notifications_delivery", "delivery_once")
    again = Delivery.objects.filter(event__subject=other.pk).latest("pk")
    again.pk = uuid4()
    again.save(force_insert=True)
    assert standing().doubled == {order.pk, other.pk}


# --- without the demo shop ------------------------------------------------------------------------


def test_no_other_page_needs_the_demo_shop(client: HttpClient, settings: Any) -> None:
    """As if the room were deleted. Its customers' pages go with it."""
    others = [one for one in urls.urlpatterns if getattr(one, "urlconf_name", None) != demo_urls]
    assert len(others) == len(urls.urlpatterns) - 1
    settings.ROOT_URLCONF = tuple(others)
    assert client.get("/admin/login/").status_code == 200
    assert client.get("/problems/").status_code == 200
    assert "menu" not in render_to_string("404.html", request=RequestFactory().get("/"))
    for page in ("400.html", "403.html", "403_csrf.html", "500.html"):
        assert render_to_string(page)


# --- who may press what ---------------------------------------------------------------------------


def test_strangers_break_only_what_holds_up_nobody(visitor: HttpClient, staff: HttpClient) -> None:
    page = text(visitor.get("/"))
    assert "Click twice" in page
    assert "Kill a worker" not in page
    assert "is for staff here" in page
    for verb in ("flush", "kill"):
        assert visitor.post("/break/", {"verb": verb}).status_code == 403
    assert not Job.objects.exists()
    assert "Kill a worker" in text(staff.get("/"))
    assert "A process is being killed" in text(press(staff, "kill"))
    assert [job.task for job in Job.objects.all()] == ["demo.tasks.order_and_fall"]


def test_with_debug_everybody_may_break_everything(visitor: HttpClient, settings: Any) -> None:
    settings.DEBUG = True
    assert "Flush the broker" in text(visitor.get("/"))


def test_each_thing_is_broken_so_often_only(
    visitor: HttpClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEMO_BREAK_REST_S = 60
    monkeypatch.setattr(verbs, "rests", verbs.Rests())
    assert "does not answer" in text(press(visitor, "answer"))
    assert "Somebody has just done that" in text(press(visitor, "answer"))
    assert Order.objects.count() == 1


def test_what_is_no_verb_and_a_closed_shop(visitor: HttpClient, settings: Any) -> None:
    assert visitor.post("/break/", {"verb": "everything"}).status_code == 404
    assert visitor.post("/break/", filled_in(verb="twice", email="nobody")).status_code == 422
    assert not Order.objects.exists()
    assert visitor.get("/break/")["Location"] == "/#break"
    assert b'id="standing"' in visitor.get("/break/", headers={"HX-Request": "true"}).content
    settings.DEMO_SHOP = False
    assert visitor.post("/break/", {"verb": "bell"}).status_code == 403
    settings.DEMO_SHOP, settings.PAYMENT_PROVIDER = True, "stripe"
    settings.STRIPE_SECRET_KEY = "sk_test_1"
    assert "Lose the answer" not in text(visitor.get("/"))
    assert visitor.post("/break/", filled_in(verb="answer")).status_code == 403


def test_orders_of_the_panel_count_as_orders(visitor: HttpClient, settings: Any) -> None:
    settings.DEMO_ORDERS_PER_ADDRESS = 1
    press(visitor, "answer")
    assert press(visitor, "answer").status_code == 429


# --- what is broken, and what comes of it ---------------------------------------------------------


@real_transactions
def test_two_clicks_at_once_are_one_order(visitor: HttpClient, settings: Any) -> None:
    settings.DEMO_ORDERS_PER_ADDRESS = 1  # the second click is not another order
    page = press(visitor, "twice")
    order = Order.objects.get()
    assert f"Sent twice. What came of it: {order.number}" in text(page)
    assert f'href="/o/{order.public_token}/"' in page.content.decode()


@real_transactions
def test_two_clicks_that_have_no_key_are_two_orders(
    visitor: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are really two."""
    monkeypatch.setattr(OrderForm, "external_id", property(lambda _form: str(uuid4())))
    press(visitor, "twice")
    assert Order.objects.count() == 2


def test_the_bank_takes_the_money_and_its_answer_is_lost(visitor: HttpClient) -> None:
    press(visitor, "answer", token="tok_ok")
    assert Order.objects.get().payment_token == "tok_timeout"


@real_transactions
def test_a_bell_for_a_job_that_waits_and_for_one_that_is_done(
    visitor: HttpClient, placed: Placed, broker: Redis
) -> None:
    placed()
    waiting = bells(broker)
    assert "Two more bells rang for the job" in text(press(visitor, "bell"))
    assert bells(broker) == waiting + 2
    work_off()
    rung = bells(broker)
    assert "Two more bells rang for the job send_mail" in text(press(visitor, "bell"))
    assert bells(broker) == rung + 2


@real_transactions
def test_the_broker_is_flushed_and_the_jobs_still_wait(placed: Placed, broker: Redis) -> None:
    placed()
    waiting = bells(broker)
    assert flush_broker() == waiting > 0
    assert bells(broker) == 0
    assert Job.objects.filter(task="orders.tasks.reserve", state="waiting").exists()
    assert counted() == (0, 0)


def bells(broker: Redis) -> int:
    return sum(int(broker.llen(queue)) for queue in shop_settings.LEDGER["QUEUES"])


@real_transactions
@pytest.mark.timeout(120)
def test_a_killed_worker_places_its_order_once(
    visitor: HttpClient, staff: HttpClient, stack: Stack
) -> None:
    visitor.post("/", filled_in())
    press(staff, "kill")
    stack.start("worker")
    killed = Job.objects.filter(task="demo.tasks.order_and_fall")
    until(lambda: killed.filter(state="done").exists(), "it is placed at last", within_s=60)
    job = killed.get()
    assert (job.attempts, job.losses + job.shared_losses) == (2, 1)
    assert "its worker process died" in job.history[0]["error"]["message"]
    until(lambda: not Job.objects.exclude(state="done").exists(), "all is done", within_s=60)
    assert [order.state for order in Order.objects.all()] == ["confirmed"] * 2
    assert counted() == (0, 0)

"""A job is its order's client's: nobody else reads of it, and its client cancels nothing that would
be missed.
"""

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from celery_ledger.models import Job
from celery_ledger.operations import interventions
from celery_ledger.testing import attempt, work_off
from notifications.models import Delivery, Endpoint
from orders import tasks
from orders.imports.models import Import
from orders.imports.tasks import see_to_imports
from orders.inputs.order import OrderInput
from orders.models import ApiKey, Client, Order
from orders.payments.models import PaymentOperation
from orders.payments.sandbox_book import SandboxCharge
from orders.tasks import place
from tests.doubles.edges import WebhookSink
from tests.orders.imports.files import as_csv, cells
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
A_DAY = timedelta(days=1)
Body = Callable[..., dict[str, Any]]


@pytest.fixture
def order(stock: Any, shop: Client, order_body: Body) -> Order:
    """Of the client `shop`, and placed without a request of its own: as the demo shop does it."""
    stock()
    with transaction.atomic():
        return place(
            shop, OrderInput.model_validate(order_body(payment={"token": "tok_webhook_twice"}))
        )


def test_every_job_of_an_order_is_its_clients_whoever_promised_it(
    order: Order, shop: Client
) -> None:
    """By a page, a job, a provider's event, a clock: what expires, what is asked again, what is
    told.
    """
    work_off()
    work_off(ahead=A_DAY)
    with transaction.atomic():
        tasks.go_on(order)
    PaymentOperation.objects.update(state="pending", asked_at=Now() - A_DAY)
    tasks.reconcile_payments.delay()
    Order.objects.update(state="reserved", expires_at=Now() - A_DAY)
    tasks.expire_orders.delay()
    work_off(ahead=A_DAY)
    houses = {"orders.tasks.expire_orders", "orders.tasks.reconcile_payments"}
    of_client = Job.objects.filter(owner=str(shop.pk))
    assert (
        set(Job.objects.exclude(pk__in=of_client.values("pk")).values_list("task", flat=True))
        == houses
    )
    assert set(of_client.values_list("task", flat=True)) >= {
        "orders.tasks.reserve",
        "orders.tasks.charge",
        "orders.tasks.on_provider_event",
        "orders.tasks.poll_payment",
        "orders.tasks.expire",
        "notifications.tasks.send_mail",
    }


def test_a_stranger_sees_nothing_of_them(order: Order) -> None:
    work_off(ahead=A_DAY)
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), []))
    assert stranger.get("/v1/jobs?limit=100").json()["data"] == []
    for job in Job.objects.all():
        assert stranger.get(f"/v1/jobs/{job.pk}").status_code == 404
        for verb in ("retry", "cancel"):
            assert stranger.post(f"/v1/jobs/{job.pk}/{verb}").status_code == 404


def audit() -> str:
    output = StringIO()
    call_command("audit", stdout=output)  # raises when something does not add up
    return output.getvalue()


def work_one() -> bool:
    """The job that is due first makes an attempt. False when none waits."""
    job = Job.objects.filter(state="waiting").order_by("due_at", "created_at").first()
    if job is None:
        return False
    Job.objects.filter(pk=job.pk, due_at__gt=Now()).update(due_at=Now())
    attempt(job)
    return True


def test_a_job_that_begins_to_wait_while_it_is_being_cancelled_is_not_cancelled(
    order: Order, shop: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was running when the client asked, and an `autoretry` gives it back in between."""
    job = Job.objects.get(task="notifications.tasks.send_mail")
    Job.objects.filter(pk=job.pk).update(
        state="dead", error={"type": "x", "message": ""}, finished_at=Now()
    )
    really_cancel = interventions.cancel

    def meanwhile(*args: Any, **named: Any) -> list[Job]:
        Job.objects.filter(pk=job.pk).update(state="waiting", error=None, finished_at=None)
        return really_cancel(*args, **named)

    monkeypatch.setattr("celery_ledger.operations.interventions.cancel", meanwhile)
    refused = Api(ApiKey.objects.issue(shop, [])).post(f"/v1/jobs/{job.pk}/cancel")
    assert refused.status_code == 409
    assert Job.objects.get(pk=job.pk).state == "waiting"


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 6))]
)
def test_a_client_that_cancels_whatever_it_may_makes_no_book_wrong(
    api: Api,
    shop: Client,
    stock: Any,
    order_body: Body,
    sink: WebhookSink,
    settings: Any,
    seed: int,
) -> None:
    """Orders, an import, an endpoint that fails, a replay; and before each step some of what waits
    is cancelled.
    """
    settings.WEBHOOK_ALLOW_LOCAL = True
    stock(on_hand=1000)
    endpoint = Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"])
    place_orders_and_an_import(api, order_body)
    answers = cancel_while_they_are_worked_off(api, endpoint, random.Random(seed))
    work_off_with_clocks()
    assert set(answers) <= {200, 404, 409}
    assert answers[200] > 3, answers
    assert "WRONG" not in audit()
    assert_every_order_and_import_ended()
    assert_everybody_was_told()
    assert SandboxCharge.objects.count() <= Order.objects.count()


def place_orders_and_an_import(api: Api, order_body: Body) -> None:
    tokens = ("tok_ok", "tok_declined", "tok_webhook_twice", "tok_ok", "tok_ok")
    for number, token in enumerate(tokens):
        body = order_body(external_id=f"o-{number}", payment={"token": token})
        assert api.place(body, key=f"{number}").status_code == 202
    rows = as_csv([cells(external_id=f"i-{number}") for number in range(4)])
    imported = api.post(
        "/v1/imports", rows, content_type="text/csv", headers={"Idempotency-Key": "i"}
    )
    assert imported.status_code == 202


def cancel_while_they_are_worked_off(
    api: Api, endpoint: Endpoint, dice: random.Random
) -> Counter[int]:
    """Job by job, with a replay on the way. How often each status was answered to a cancel."""
    answers: Counter[int] = Counter()
    for step in range(400):
        if dice.random() < 0.4:
            answers[cancel_any_that_waits(api, dice)] += 1
        if step == 60:
            replay(api, endpoint)
        if not work_one():
            break
    return answers


def cancel_any_that_waits(api: Api, dice: random.Random) -> int:
    """The status of the answer; 200 when none waits."""
    jobs = Job.objects.filter(state="waiting").order_by("created_at", "pk")
    waiting = list(jobs.values_list("pk", flat=True))
    if not waiting:
        return 200
    return int(api.post(f"/v1/jobs/{dice.choice(waiting)}/cancel").status_code)


def replay(api: Api, endpoint: Endpoint) -> None:
    since = endpoint.created_at or Order.objects.earliest("pk").created_at
    everything = {"since": since.isoformat(), "state": "all"}
    path = f"/v1/webhook-endpoints/{endpoint.pk}/replay"
    assert api.post(path, everything, "application/json").status_code == 202


def work_off_with_clocks() -> None:
    """As `beat_schedule` has them."""
    work_off(ahead=3 * A_DAY)
    for clock in (tasks.expire_orders, tasks.reconcile_payments, see_to_imports):
        clock.delay()
    work_off(ahead=3 * A_DAY)


def assert_every_order_and_import_ended() -> None:
    ended = Q(state__in=["confirmed", "completed", "cancelled"]) | Q(held=True)
    assert not Order.objects.exclude(ended).exists()
    assert Import.objects.get().state == "done"


def assert_everybody_was_told() -> None:
    assert not Delivery.objects.filter(state="waiting").exists()
    assert not Delivery.objects.filter(resend=True).exists()
    mails = Delivery.objects.filter(channel="mail")
    assert mails.count() == mails.filter(state="delivered").count(), "a mail was lost"

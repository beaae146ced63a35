"""/metrics: what Prometheus reads, for whoever has the token, at the same price on a ledger with a
long past.
"""

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection
from django.test import Client as HttpClient
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from celery_ledger.models import Job, Worker
from celery_ledger.testing import work_off
from config import celery_app
from config.web import metrics as page
from orders.models import Order
from tests.celery_ledger import past, tasks
from tests.postgres.plans import plans_of
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = "m" * 40
Told = dict[tuple[str, ...], float]


@pytest.fixture(autouse=True)
def token(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN


def scrape(client: HttpClient) -> Told:
    """Every sample by its name and the values of its labels, these in the order of their names."""
    response = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (response.status_code, response["Content-Type"]) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    )
    text = response.content.decode()
    families = list(text_string_to_metric_families(text))
    for family in families:
        assert f"# HELP {family.name} {family.documentation}\n# TYPE {family.name} gauge\n" in text
    names = re.findall(r"^# HELP (\S+) \S", text, flags=re.MULTILINE)
    assert len(names) == len(set(names)) == len(families)
    return {
        (
            sample.name.removeprefix("kaiten_"),
            *(value for _, value in sorted(sample.labels.items())),
        ): sample.value
        for family in families
        for sample in family.samples
    }


def test_it_is_there_for_the_token_alone(client: HttpClient, api: Api, settings: Any) -> None:
    for header in (
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer m\xe9",
    ):
        response = client.get("/metrics", headers={"Authorization": header})
        assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer"), header
        assert b"kaiten_" not in response.content
    assert api.get("/metrics").status_code == 401
    assert client.post("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 405
    assert client.get("/metrics", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    settings.METRICS_TOKEN = ""
    for header in ("", "Bearer", "Bearer ", f"Bearer {TOKEN}"):
        assert client.get("/metrics", headers={"Authorization": header}).status_code == 404


def test_an_idle_shop_says_zero(client: HttpClient, broker: Redis) -> None:
    numbers = scrape(client)
    assert (
        numbers[("jobs_due", "kaiten")]
        == numbers[("jobs_oldest_due_seconds", "kaiten")]
        == numbers[("workers",)]
        == 0
    )
    assert (
        numbers[("broker_up",)],
        numbers[("broker_bells", "kaiten")],
        numbers[("broker_bells", "bulk")],
    ) == (1, 0, 0)
    assert numbers[("jobs_ended_window_seconds",)] == 300


def test_the_ledger_is_told_by_state_queue_and_task(client: HttpClient, broker: Redis) -> None:
    add, fail = "tests.celery_ledger.tasks.add", "tests.celery_ledger.tasks.note_then_fail"
    for _ in range(2):
        tasks.note_then_fail.delay("a")
    tasks.fail_for_a_while.delay(1)
    work_off(ahead=timedelta(hours=1))
    late, running, _ = [tasks.add.delay(1, 1).id for _ in range(3)]
    tasks.add.apply_async((1, 1), countdown=60)
    tasks.add.apply_async((1, 1), queue="bulk")
    Job.objects.filter(pk=late).update(due_at=timezone.now() - timedelta(seconds=90))
    Job.objects.claim(
        [running], task=add, token=uuid4(), worker=None, pid=1, lease=timedelta(seconds=40)
    )
    Worker.objects.beat(uuid4(), name="celery@here", pid=5)
    assert scrape(client)[("jobs_unheard_seconds", "kaiten")] == 0
    Worker.objects.beat(uuid4(), name="deaf", pid=6, queues=["kaiten", "bulk"], quiet_s=30)
    numbers = scrape(client)
    assert 90 <= numbers[("jobs_unheard_seconds", "kaiten")] < 180
    assert ("jobs_unheard_seconds", "bulk") not in numbers
    assert {key[1:]: number for key, number in numbers.items() if key[0] == "jobs"} == {
        ("kaiten", "waiting", add): 3,
        ("bulk", "waiting", add): 1,
        ("kaiten", "running", add): 1,
        ("kaiten", "dead", fail): 2,
    }
    assert (
        numbers[("jobs_due", "kaiten")],
        numbers[("jobs_due", "bulk")],
        numbers[("workers",)],
    ) == (2, 1, 2)
    assert 90 <= numbers[("jobs_oldest_due_seconds", "kaiten")] < 180
    assert numbers[("jobs_ended", "dead", fail)] == 2
    passing = "tests.celery_ledger.tasks.fail_for_a_while"
    assert (
        numbers[("jobs_ended", "done", passing)],
        numbers[("jobs_ended_retries", "done", passing)],
    ) == (1, 1)
    assert numbers[("broker_bells", "kaiten")] >= 3


def test_orders_and_deliveries_are_told_by_state(
    client: HttpClient, api: Api, stock: Any, order_body: Any
) -> None:
    stock()
    for number in range(3):
        api.place(order_body(external_id=f"o-{number}"), key=f"k-{number}")
    work_off()
    Order.objects.filter(external_id="o-1").update(held=True)
    numbers = scrape(client)
    assert (numbers[("orders", "confirmed")], numbers[("orders_held",)]) == (3, 1)
    assert numbers[("deliveries", "mail", "delivered")] == 6  # received and confirmed


def test_a_number_that_reaches_its_limit_stays_there_and_the_window_says_so(
    client: HttpClient, settings: Any
) -> None:
    settings.METRICS_ROWS_MAX = 5
    settings.LEDGER = {**settings.LEDGER, "METRICS_ROWS_MAX": 5}
    past.promise(20, due="-1 h", rings="100 s")
    for _ in range(6):
        tasks.add.delay(1, 1)
    Job.objects.filter(due_at__gt=timezone.now() - timedelta(minutes=1)).update(
        state="done", finished_at=timezone.now() - timedelta(seconds=30)
    )
    numbers = scrape(client)
    assert (
        numbers[("jobs", "kaiten", "waiting", "tests.celery_ledger.tasks.add")]
        == numbers[("jobs_due", "kaiten")]
        == 5
    )
    assert numbers[("jobs_ended", "done", "tests.celery_ledger.tasks.add")] == 5
    assert 30 <= numbers[("jobs_ended_window_seconds",)] < 120


def test_however_many_names_tasks_have_few_become_labels(client: HttpClient, settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "METRICS_TASKS_MAX": 2}
    for number in range(5):
        for _ in range(6 - number):
            celery_app.send_task(f'strange "{number}"\n', queue="kaiten")
    numbers = {key: number for key, number in scrape(client).items() if key[0] == "jobs"}
    assert numbers == {
        ("jobs", "kaiten", "waiting", 'strange "0"\n'): 6,
        ("jobs", "kaiten", "waiting", 'strange "1"\n'): 5,
        ("jobs", "kaiten", "waiting", "(other)"): 9,
    }


def test_a_broker_that_is_away_is_told_and_holds_up_nothing(
    client: HttpClient, monkeypatch: Any
) -> None:
    monkeypatch.setattr(celery_app.amqp.bell, "_resting_until", float("inf"))
    numbers = scrape(client)
    assert numbers[("broker_up",)] == 0
    assert not [key for key in numbers if key[0] == "broker_bells"]


def test_without_postgres_it_is_503(client: HttpClient, monkeypatch: Any) -> None:
    def refuse() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("django.db.connection.cursor", refuse)
    response = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (response.status_code, response["Retry-After"]) == (503, "5")


def test_no_statement_looks_at_more_than_its_share_of_a_long_past_and_backlog(
    settings: Any,
) -> None:
    settings.METRICS_ROWS_MAX = 100
    settings.LEDGER = {
        **settings.LEDGER,
        "METRICS_ROWS_MAX": 100,
        "METRICS_WINDOW": timedelta(days=1),
    }
    past.finish(20_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE celery_ledger_job")
    past.promise(5_000, due="-1 h", rings="-10 s")
    past.promise(5_000, due="1 h", rings="1 h", queue="later")
    Job.objects.filter(pk__in=Job.objects.filter(state="waiting")[:2000].values("pk")).update(
        state="running", token=uuid4(), lease_until=timezone.now()
    )
    plans = plans_of(page._of_postgres)
    one_look = settings.METRICS_ROWS_MAX + 40
    limits = {plan.sql: 600 if "RECURSIVE" in plan.sql else one_look for plan in plans}
    assert [(plan.buffers, plan.sql) for plan in plans if plan.buffers > limits[plan.sql]] == []
    scans = [node for plan in plans for node in plan.nodes if node.startswith("Seq Scan")]
    assert not [node for node in scans if "job" in node]

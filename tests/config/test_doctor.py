"""`manage.py doctor` names what is wrong and what to do, and nothing else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from celery import chain, current_app
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from celery_ledger.models import Job, State, Worker
from celery_ledger.operations.listing import local_time
from celery_ledger.testing import work_off
from config import celery_app
from config.start.boot import database_trouble
from orders.models import Order
from tests.celery_ledger import tasks
from tests.machine.ports import free_port
from tests.rooms import CHECKOUT
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
CHECKS = [
    "config",
    "mail",
    "broker",
    "database",
    "migrations",
    "limits",
    "clock",
    "waiting",
    "hearing",
    "tasks",
    "running",
    "dead",
    "deliveries",
    "unmailed",
    "held",
]


@pytest.fixture
def worker(db: None, settings: Any) -> Worker:
    settings.SITE_URL, settings.DEFAULT_FROM_EMAIL = (
        "https://shop.example.com",
        "Kaiten <shop@example.com>",
    )
    Worker.objects.beat(uuid4(), name="celery@here", pid=5)
    return Worker.objects.get()


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    """A session with the limits that the release gave to the role."""
    call_command("release", stdout=StringIO(), verbosity=0)
    connection.close()
    yield
    connection.close()


def doctor() -> dict[str, str]:
    """The lines of `manage.py doctor` by what they are about; the exit code must agree."""
    output, wrong = StringIO(), ""
    try:
        call_command("doctor", stdout=output)
    except CommandError as exc:
        wrong = str(exc)
    lines = {line.split()[1]: " ".join(line.split()) for line in output.getvalue().splitlines()}
    number = sum(line.startswith("WRONG ") for line in lines.values())
    assert wrong == (
        ""
        if not number
        else "One thing is wrong."
        if number == 1
        else f"{number} things are wrong."
    )
    return lines


def only_wrong() -> str:
    [wrong] = [line for line in doctor().values() if not line.startswith("ok ")]
    return wrong


def test_all_is_well(worker: Worker) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0]
    assert doctor() == {
        "config": "ok config Every setting that a start needs is there.",
        "mail": "ok mail Mails are sent by a server, and lead to the shop.",
        "broker": "ok broker The broker takes bells.",
        "database": f"ok database Postgres {version} answers, and takes orders.",
        "migrations": "ok migrations Every migration is applied.",
        "limits": "ok limits The database role has its time limits.",
        "clock": "ok clock Workers that beat: 1.",
        "waiting": "ok waiting No job has been due for more than 60 s.",
        "hearing": "ok hearing No idle worker leaves a due job alone.",
        "tasks": "ok tasks This release knows the tasks of all due jobs.",
        "running": "ok running No running job is past its lease.",
        "dead": "ok dead No job is dead.",
        "deliveries": "ok deliveries None was given up in 4 days, and none is overdue.",
        "unmailed": "ok unmailed No address is on the list of those that nothing is mailed to.",
        "held": "ok held No order is held.",
    }
    assert list(doctor()) == CHECKS


def test_a_missing_setting_is_named(worker: Worker, settings: Any) -> None:
    settings.PAYMENT_PROVIDER = "gold"
    assert only_wrong() == (
        "WRONG config PAYMENT_PROVIDER is 'gold'. Set it to sandbox or stripe. "
        "Set it and restart every dyno."
    )


def test_mails_that_only_the_log_reads_are_named(worker: Worker, settings: Any) -> None:
    settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}
    assert only_wrong().startswith(
        "WRONG mail Mails are printed to the log and reach nobody; it names their readers."
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SITE_URL", "http://127.0.0.1:8000", "Mails lead their readers to http://127.0.0.1:8000."),
        (
            "DEFAULT_FROM_EMAIL",
            "Kaiten <shop@localhost>",
            "Mails come from Kaiten <shop@localhost>,",
        ),
    ],
)
def test_mails_that_lead_nowhere_are_named(
    worker: Worker, settings: Any, name: str, value: str, sentence: str
) -> None:
    setattr(settings, name, value)
    assert only_wrong().startswith(f"WRONG mail {sentence}")
    assert f"Set {name} to " in only_wrong()


def test_a_statement_that_takes_too_long_is_not_called_a_database_that_is_away() -> None:
    with (
        pytest.raises(OperationalError) as refused,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SET LOCAL statement_timeout = 10; SELECT pg_sleep(60)")
    assert (
        "gave a statement up. It said: canceling statement due to statement timeout"
        in database_trouble(refused.value)
    )


def test_an_optional_package_that_is_missing_is_named(
    worker: Worker, settings: Any, monkeypatch: Any
) -> None:
    settings.SENTRY_DSN = "https://key@sentry.example/7"
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    assert only_wrong().startswith(
        "WRONG config SENTRY_DSN is set, but its package is not installed."
    )


def test_a_broker_that_does_not_answer_is_named(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery_app.amqp.bell, "_resting_until", float("inf"))
    assert only_wrong().startswith(
        "WRONG broker The broker does not answer; orders are taken and wait in Postgres."
    )


def test_a_migration_that_is_not_applied_is_named(worker: Worker) -> None:
    [newest] = MigrationLoader(connection).graph.leaf_nodes("celery_ledger")
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE (app, name) = (%s, %s) RETURNING applied", newest
        )
        [applied] = cursor.fetchone()
        try:
            wrong = only_wrong()
        finally:
            cursor.execute(
                "INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)",
                [*newest, applied],
            )
    assert wrong == (
        "WRONG migrations Migrations that are not applied: 1, "
        f"the first is {newest[0]}.{newest[1]}. "
        "Run `python manage.py release`."
    )


def test_limits_that_the_role_lacks_are_named(worker: Worker) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")
        cursor.execute("SET statement_timeout = '30s'")
    assert only_wrong() == (
        "WRONG limits statement_timeout is 30s instead of 20s, lock_timeout is 0 instead of 5s. "
        "Run `python manage.py release`, then restart every dyno."
    )


def test_a_ledger_without_a_living_worker_is_named(worker: Worker) -> None:
    Worker.objects.update(seen_at=timezone.now() - timedelta(seconds=16))
    seen_at = local_time(Worker.objects.get().seen_at)
    start = "Start a worker dyno (Procfile: worker) and read its log."
    assert only_wrong() == (
        f"WRONG clock No worker has beaten in the last 15 s; the last one did at {seen_at}. {start}"
    )
    Worker.objects.all().delete()
    assert only_wrong() == f"WRONG clock No worker has beaten in the last 15 s. {start}"


def test_due_jobs_that_nobody_takes_are_named(worker: Worker) -> None:
    late, later, _ = [tasks.add.delay(1, 1).id for _ in range(3)]
    Job.objects.filter(pk=later).update(due_at=timezone.now() - timedelta(seconds=55))
    assert doctor()["waiting"].startswith("ok ")
    Job.objects.filter(pk=late).update(due_at=timezone.now() - timedelta(seconds=62))
    assert only_wrong() == (
        "WRONG waiting Jobs due for more than 60 s: 1. "
        f"Ask why: `python manage.py jobs why {late}`."
    )


def test_due_jobs_beside_an_idle_worker_that_begins_none_are_named(worker: Worker) -> None:
    tasks.add.delay(1, 1)
    late = timezone.now() - timedelta(seconds=40)
    Job.objects.update(due_at=late)
    Worker.objects.beat(worker.pk, name=worker.name, pid=5, queues=["kaiten"], quiet_s=5)
    assert doctor()["hearing"].startswith("ok ")
    Worker.objects.beat(worker.pk, name=worker.name, pid=5, queues=["bulk"], quiet_s=30)
    assert doctor()["hearing"].startswith("ok ")
    Worker.objects.beat(worker.pk, name=worker.name, pid=5, queues=["kaiten"], quiet_s=30)
    assert "Due but unheard, beside an idle worker: kaiten for 4" in only_wrong()


def test_due_jobs_of_tasks_that_this_release_does_not_know_are_named(worker: Worker) -> None:
    for _ in range(2):
        current_app.send_task("shop.tasks.of_yesterday")
    current_app.send_task("shop.tasks.of_tomorrow", countdown=3600)
    assert only_wrong() == (
        "WRONG tasks This release has no task for due jobs: 2 of shop.tasks.of_yesterday. "
        "Bring the task back until they are done, or `python manage.py jobs cancel --task NAME`."
    )


def test_running_jobs_past_their_lease_are_named(worker: Worker) -> None:
    id_ = tasks.add.delay(1, 1).id
    lease = timedelta(seconds=40)
    Job.objects.claim(
        [id_], task="tests.celery_ledger.tasks.add", token=uuid4(), worker=None, pid=1, lease=lease
    )
    assert doctor()["running"].startswith("ok ")
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert only_wrong() == (
        "WRONG running Running jobs past their lease: 1; no clock gives them back. "
        f"See the clock above; then `python manage.py jobs why {id_}`."
    )


def test_dead_jobs_are_counted_by_task(worker: Worker) -> None:
    for name in ("a", "b"):
        tasks.note_then_fail.delay(name)
    work_off()
    assert only_wrong() == (
        "WRONG dead Dead jobs: 2 of tests.celery_ledger.tasks.note_then_fail. "
        "See `python manage.py jobs list --state dead` "
        "and `jobs why ID`; mend the cause, then `jobs retry ID`."
    )


def test_a_step_after_a_dead_one_is_not_a_second_dead_job(worker: Worker) -> None:
    """It has not run and cannot be retried: whoever mends its cause has nothing else to do."""
    chain(tasks.note_then_fail.si("a"), tasks.add.si(1, 1)).delay()
    work_off()
    assert Job.objects.filter(state=State.DEAD).count() == 2
    assert "Dead jobs: 1 of tests.celery_ledger.tasks.note_then_fail." in only_wrong()


def test_held_orders_are_counted_by_reason(
    worker: Worker, api: Api, stock: Any, order_body: Any
) -> None:
    stock()
    api.place(order_body())
    Order.objects.get().hold("payment_unknown")
    assert only_wrong() == (
        "WRONG held Held orders wait for a person: 1 for payment_unknown. "
        "See docs/runbook.md for each reason."
    )


def test_a_database_that_is_down_is_said_once_in_a_sentence_and_the_rest_is_checked() -> None:
    url = f"postgres://u:secret@127.0.0.1:{free_port()}/shop"
    environment = {**os.environ, "DATABASE_URL": url, "SECRET_KEY": "x" * 50}
    command = [sys.executable, "manage.py", "doctor"]
    ended = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = ended.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", "config"],
        ["ok", "mail"],
        ["ok", "broker"],
        ["WRONG", "database"],
    ]
    assert "/shop does not answer; check DATABASE_URL. It said: " in lines[3]
    assert lines[3].endswith("Bring Postgres back; what waits, runs or died is not known.")
    assert (ended.returncode, ended.stderr) == (1, "CommandError: One thing is wrong.\n")
    assert "secret" not in ended.stdout


def test_without_a_database_url_the_setting_is_named() -> None:
    environment = {**os.environ, "DATABASE_URL": "", "SECRET_KEY": "x" * 50, "DYNO": "test.1"}
    command = [sys.executable, "manage.py", "doctor"]
    ended = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "WRONG  config      DATABASE_URL is not set. Set it to postgres://" in ended.stdout
    assert (ended.returncode, ended.stderr) == (1, "CommandError: 2 things are wrong.\n")

"""How many connections the dynos hold, and the promise through a PgBouncer."""

import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from redis import Redis

from celery_ledger.models import Job
from orders.models import ApiKey, Client, Order
from tests.promises import tasks
from tests.promises.processes import Stack, Web
from tests.promises.servers.pgbouncer import SERVER_SESSIONS, pgbouncer
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]

PLAN_LIMIT = 20  # of the smallest Postgres and the smallest Redis that Heroku offers
SPARE = 2  # for a release, or a person's shell
AT_ONCE = 16
DYNOS = "dynos"  # the name that they give to Postgres here


@pytest.fixture
def place(shop: Client, stock: Any, order_body: Callable[..., Any]) -> Callable[[Web, str], int]:
    key = ApiKey.objects.issue(shop, [])
    stock(on_hand=100_000)

    def post(web: Web, number: str) -> int:
        body = order_body(external_id=number)
        status, _, _ = web.ask(
            "POST", "/v1/orders", body, Authorization=f"Bearer {key}", Idempotency_Key=number
        )
        return status

    return post


@pytest.mark.soak
def test_old_and_new_dynos_together_fit_into_the_smallest_plans(
    stack: Stack, broker: Redis, place: Callable[[Web, str], int]
) -> None:
    """While a deploy lets them overlap, and every thread of the web and every process of the
    workers is busy.
    """
    stack.environment["DATABASE_URL"] += f"&application_name={DYNOS}"
    others = {client["id"] for client in broker.client_list()}
    webs = [stack.start_web(), stack.start_web()]
    workers = [stack.start("worker", "--include", "tests.promises.tasks") for _ in range(2)]
    until(
        lambda: all("ready." in worker.output() for worker in workers),
        "both workers are ready",
        within_s=60,
    )
    peak: Counter[str] = Counter()
    with ThreadPoolExecutor(max_workers=2 * AT_ONCE) as pool:
        asked = [
            pool.submit(place, web, f"{index}-{n}")
            for n in range(3 * AT_ONCE)
            for index, web in enumerate(webs)
        ]
        while not all(answer.done() for answer in asked):
            peak |= held(broker, others)
    assert {answer.result() for answer in asked} == {202}
    until(all_finished, "everything is worked off", within_s=90)
    peak |= held(broker, others)
    assert min(peak.values()) >= 4, "nobody was counted"
    assert peak["postgres"] <= PLAN_LIMIT - SPARE
    assert peak["redis"] <= PLAN_LIMIT - SPARE


def held(broker: Redis, others: set[str]) -> Counter[str]:
    """Connections of the dynos, and of nobody who was there before them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [DYNOS])
        sessions = int(cursor.fetchone()[0])
    db = str(broker.get_connection_kwargs()["db"])
    clients = [
        client
        for client in broker.client_list()
        if client["db"] == db and client["id"] not in others
    ]
    return Counter(postgres=sessions, redis=len(clients))


@pytest.mark.soak
def test_the_promise_holds_behind_a_pgbouncer_that_gives_every_transaction_another_session(
    stack: Stack,
    place: Callable[[Web, str], int],
    tally: Callable[[], Counter[int]],
    tmp_path: Path,
) -> None:
    with pgbouncer(tmp_path, connection.settings_dict) as url:
        stack.environment["DATABASE_URL"] = url
        work_through_a_killed_worker(stack, place)
        assert_nobody_went_around_it()
        stack.stop()
    assert Order.objects.filter(state="confirmed").count() == AT_ONCE
    assert tally() == Counter(range(2 * AT_ONCE))


def test_a_long_read_leaves_no_cursor_on_the_server(shop: Client) -> None:
    """Behind a PgBouncer its next rows would be asked of a session that does not know it."""
    Client.objects.create(name="another")
    with connection.cursor() as cursor:
        for _ in Client.objects.iterator(chunk_size=1):
            cursor.execute("SELECT count(*) FROM pg_cursors")
            assert cursor.fetchone() == (0,)


def work_through_a_killed_worker(stack: Stack, place: Callable[[Web, str], int]) -> None:
    assert "Limits of the database role are set." in stack.run("manage.py", "release")
    web = stack.start_web()
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        assert set(pool.map(lambda n: place(web, f"b-{n}"), range(AT_ONCE))) == {202}
    for number in range(2 * AT_ONCE):
        tasks.tally.delay(number)
    worker = stack.start("worker", "--include", "tests.promises.tasks", "--concurrency", "4")
    until(lambda: Job.objects.filter(state="running").exists(), "it works", within_s=60)
    worker.signal(signal.SIGKILL)
    stack.start("worker", "--include", "tests.promises.tasks", "--concurrency", "4")
    until(all_finished, "everything is worked off", within_s=120)


def assert_nobody_went_around_it() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'client backend' "
            "AND pid <> pg_backend_pid()"
        )
        assert 1 <= cursor.fetchone()[0] <= SERVER_SESSIONS


def all_finished() -> bool:
    assert list(Job.objects.filter(state__in=("dead", "cancelled")).values("task", "error")) == []
    return not Job.objects.exclude(state="done").exists()

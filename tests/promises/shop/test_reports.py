"""A day is computed by workers that are killed in its parts and while they are added up: every
order counts once.
"""

import random
import signal
from collections import Counter
from datetime import date, timedelta
from uuid import UUID, uuid5

import pytest
from django.db import connection, transaction
from pytest_django.fixtures import Settings
from redis import Redis

from celery_ledger.models import Job
from notifications.models import Event
from orders.models import Client
from orders.reports import tasks
from orders.reports.days import Day
from orders.reports.models import Computation, DailyReport, HourFigure, SkuFigure
from tests.doubles.edges import Postbox
from tests.postgres.hands import Hand
from tests.promises.processes import Stack, Tree
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]
DAY = Day(date(2025, 11, 18))
ORDERS, SEED = 80, 20261125
PART, ADD_UP = "orders.reports.tasks.compute_part", "orders.reports.tasks.add_up"


def write_a_day(clients: list[Client]) -> tuple[Counter[UUID | None], Counter[int]]:
    """Orders of two clients, each confirmed and refunded in part; returns their gross by client,
    and it by hour.
    """
    dice = random.Random(SEED)
    by_client: Counter[UUID | None] = Counter()
    by_hour: Counter[int] = Counter()
    for number in range(ORDERS):
        client, price, offset = (
            dice.choice(clients).pk,
            dice.randrange(2, 1000),
            timedelta(minutes=dice.randrange(22 * 60)),
        )
        line = {
            "sku": f"S{number % 7}",
            "name": "",
            "quantity": 1,
            "unit_price": price,
            "discount": 0,
            "tax": 0,
        }
        for seq, (kind, captured, refunded) in enumerate(
            [("order.received", 0, 0), ("order.confirmed", price, 0), ("order.refunded", price, 1)],
            start=1,
        ):
            order = {"currency": "JPY", "captured": captured, "refunded": refunded, "lines": [line]}
            Event.objects.create(
                kind=kind,
                subject=uuid5(client, str(number)),
                seq=seq,
                owner=client,
                data={"order": order},
                at=DAY.begin + offset + timedelta(seconds=seq, microseconds=number),
            )
        by_client.update({client: price, None: price})
        by_hour[int((offset + timedelta(seconds=2)) / timedelta(hours=1))] += price
    return by_client, by_hour


def done(task: str) -> int:
    return Job.objects.filter(task=task, state="done").count()


def somebody_is_blocked() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
        )
        return bool(cursor.fetchone()[0])


def kill_at_work(tree: Tree, task: str, broker: Redis) -> None:
    """In the middle of that task, whose effects are written as far as a lock lets them."""
    until(Job.objects.filter(task=task, state="running").exists, f"{task} runs", within_s=60)
    until(somebody_is_blocked, f"{task} waits for a lock", within_s=60)
    tree.signal(signal.SIGKILL)
    broker.flushdb()


@pytest.mark.soak
def test_a_report_counts_every_order_once_whatever_dies(
    stack: Stack, broker: Redis, postbox: Postbox, settings: Settings
) -> None:
    clients = [Client.objects.create(name=name) for name in ("shop", "other")]
    by_client, by_hour = write_a_day(clients)
    stack.environment |= {
        "REPORT_EMAILS": "ann@example.com",
        "EMAIL_URL": f"smtp://127.0.0.1:{postbox.port}",
    }
    settings.REPORT_PART_EVENTS = 1  # for the cuts, which are made here
    parts = divide()
    assert parts == 3 * ORDERS
    kill_two_workers(stack, parts, broker)
    stack.start("worker")
    until(lambda: not Job.objects.exclude(state="done").exists(), "everything is done", within_s=60)
    assert (done(PART), done(ADD_UP)) == (parts, 1)
    assert [kept.objects.count() for kept in (Computation, HourFigure, SkuFigure)] == [0, 0, 0]
    assert_each_client_has_its_figures(by_client, by_hour)
    assert len(postbox.mails) == Event.objects.filter(kind="report.daily").count() == 1


def divide() -> int:
    """How many parts of the day wait."""
    with transaction.atomic():
        computation = Computation.objects.begin(DAY, DAY.settled_at)
        assert computation is not None
        tasks.divide(str(computation.pk))
    return Job.objects.filter(task=PART).count()


def kill_two_workers(stack: Stack, parts: int, broker: Redis) -> None:
    """One in a part, one while the parts are added up."""
    with Hand() as hand:
        first = stack.start("worker")
        until(lambda: done(PART) > parts // 10, "some parts are done", within_s=60)
        hand.open_transaction()
        hand.do(lambda: list(Computation.objects.select_for_update()))  # parts refer to it
        kill_at_work(first, PART, broker)
        hand.commit()
        assert done(PART) < parts
        hand.open_transaction()
        hand.do(lambda: DailyReport.objects.locked(DAY.date))
        kill_at_work(stack.start("worker"), ADD_UP, broker)
        hand.roll_back()


def assert_each_client_has_its_figures(
    by_client: Counter[UUID | None], by_hour: Counter[int]
) -> None:
    reports = {report.client_id: report for report in DailyReport.objects.all()}
    assert {client: report.figures[0]["gross"] for client, report in reports.items()} == by_client
    [everybodys] = reports[None].figures
    assert (everybodys["orders"], everybodys["refunds"]) == (ORDERS, ORDERS)
    gross = {number: hour["gross"] for number, hour in enumerate(everybodys["by_hour"])}
    assert {number: sum_ for number, sum_ in gross.items() if sum_} == by_hour
    assert sum(sold["amount"] for sold in everybodys["top_skus"]) == by_client[None]

"""An endpoint that wants what is about one order in order gets it so, whatever its server answers
and whoever is killed.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.db.models import Count

from celery_ledger.failpoints import At
from celery_ledger.models import Job
from notifications import events
from notifications.models import Attempt, Delivery, Endpoint
from orders.models import Client
from tests.doubles.edges import WebhookSink
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
SEED = 20261201
ORDERS, EVENTS = 10, 10
WORKER = ("worker", "--concurrency", "1")
Happen = Callable[[UUID, int], None]


@pytest.fixture
def happen(shop: Client, sink: WebhookSink) -> Happen:
    """An event of that order."""
    Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"], quick=True, ordered=True)

    def record(order: UUID, seq: int) -> None:
        data = {"order": str(order), "seq": seq}
        with transaction.atomic():
            events.record("order.held", subject=order, seq=seq, owner=shop.pk, data={"of": data})

    return record


def all_happens(happen: Happen, dice: random.Random) -> None:
    """Now of one order, now of another."""
    seqs = {uuid4(): 0 for _ in range(ORDERS)}
    turns = [order for order in seqs for _ in range(EVENTS)]
    dice.shuffle(turns)
    for order in turns:
        seqs[order] += 1
        happen(order, seqs[order])


def heard(sink: WebhookSink) -> dict[str, list[int]]:
    """What was tried of each order, one after another."""
    tried = defaultdict[str, list[int]](list)
    for _, body in sink.heard:
        of = json.loads(body)["data"]["of"]
        tried[of["order"]].append(of["seq"])
    return tried


def wait_for_all() -> None:
    delivered = Delivery.objects.filter(state="delivered")
    until(lambda: delivered.count() == ORDERS * EVENTS, "all have arrived", within_s=90)


def assert_in_order(sink: WebhookSink) -> None:
    """None was tried while an older one of its order had not arrived."""
    tried = heard(sink)
    assert len(tried) == ORDERS
    for seqs in tried.values():
        assert seqs == sorted(seqs)
        assert set(seqs) == set(range(1, EVENTS + 1))


def test_a_hundred_events_of_ten_orders_arrive_in_order_and_once_though_calls_fail(
    stack: Stack, happen: Happen, sink: WebhookSink
) -> None:
    """Each order waits for none but its own."""
    dice = random.Random(SEED)
    sink.answers = [500 if dice.random() < 0.15 else 200 for _ in range(2 * ORDERS * EVENTS)]
    stack.start(*WORKER)
    all_happens(happen, dice)
    wait_for_all()
    assert_in_order(sink)
    arrived = Attempt.objects.filter(ok=True).values("delivery").annotate(times=Count("pk"))
    assert [row["times"] for row in arrived] == [1] * (ORDERS * EVENTS)
    assert len(sink.heard) == Attempt.objects.count() > ORDERS * EVENTS
    assert Job.objects.filter(state="waiting").count() == 0


@pytest.mark.parametrize(
    "place",
    [
        At.AFTER_COMMIT,
        pytest.param(At.AFTER_EXTERNAL, marks=pytest.mark.soak),
        pytest.param(At.BEFORE_COMMIT, marks=pytest.mark.soak),
    ],
)
def test_a_worker_that_dies_between_two_of_them_leaves_neither_behind(
    stack: Stack, happen: Happen, sink: WebhookSink, tmp_path: Path, place: At
) -> None:
    """Whoever reaches that place is killed, three times, and every call beside it is made again."""
    stack.environment["FAILPOINTS"], order = str(tmp_path), tmp_path / place
    stack.start(*WORKER)
    all_happens(happen, random.Random(SEED))
    for _ in range(3):
        (tmp_path / "draft").write_text("kill")
        (tmp_path / "draft").rename(order)
        until(lambda: not order.exists(), f"it is killed {place}", within_s=30)
    wait_for_all()
    assert_in_order(sink)

"""Work on a ledger with a past, and what its statements cost in buffers, by the product's code."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Claim, Job, JobQuerySet, Settled, State, Worker
from celery_ledger.models.jobs import due
from celery_ledger.models.jobs.low_water import LowWater
from celery_ledger.operations import listing, owned, stats
from config import doctor
from tests.celery_ledger import past
from tests.postgres.plans import plans_of

PER_TICK = 50  # jobs between two ticks of the clock
TASK = "tests.celery_ledger.tasks.add"
Figures = dict[str, int]
_waters: dict[str, LowWater] = {}


def churn(number: int, worker: UUID) -> int:
    """Work off so many jobs, every tenth in two attempts, with a tick after each PER_TICK."""
    for _ in range(number // PER_TICK):
        past.promise(PER_TICK)
        for index, id_ in enumerate(newest(PER_TICK)):
            held = claimed(id_, worker)
            if index % 10 == 0:
                put_back(held)
                held = claimed(id_, worker)
            assert Job.objects.settle([Settled(held, 2, [])])
        tick(worker)
    return number


def tick(worker: UUID) -> None:
    """What a clock asks of celery_ledger_job in each tick; as many old jobs go as new ones came."""
    Worker.objects.beat(worker, name="bench", pid=1)
    with transaction.atomic():
        list(running().running_at(worker).values_list("pid"))
        running().lost().take_for_rescue(ledger_settings.BATCH)
        ring()
        Job.objects.prune(before=timezone.now(), limit=PER_TICK)


def cost_of_work(worker: UUID) -> Figures:
    """What every job and every tick pays."""
    Worker.objects.beat(worker, name="bench", pid=1)
    past.promise(3)
    first, second, _ = newest(3)
    held: list[Claim] = []
    figures = {"claim": cost(lambda: held.append(claimed(first, worker)))}
    figures["settle"] = cost(lambda: Job.objects.settle([Settled(held[0], 2, [])]))
    again = claimed(second, worker)
    figures["retry"] = cost(lambda: put_back(again))
    with transaction.atomic():
        figures["tick: ring"] = cost(ring)
        figures["tick: ring, the broker lost its bells"] = cost(partial(ring, lost=True))
        figures["tick: look for lost jobs"] = cost(
            lambda: running().lost().take_for_rescue(ledger_settings.BATCH)
        )
        figures["tick: look after our own children"] = cost(
            lambda: list(running().running_at(worker).values("pid"))
        )
        since = mark("due_at")
        figures["process: whose jobs wait"] = cost(lambda: due.who_waits("kaiten", since=since))
        figures["threads: what is due"] = cost(
            lambda: due.of_each_owner({"kaiten": 20}, tasks=[TASK], marks={"kaiten": since})
        )
        prune = partial(Job.objects.prune, before=timezone.now(), limit=ledger_settings.BATCH)
        figures["tick: prune 200 rows"] = cost(prune)
    figures["tick: beat"] = cost(lambda: Worker.objects.beat(worker, name="bench", pid=1))
    Job.objects.filter(state=State.WAITING, queue="kaiten", pk__in=newest(3)).delete()
    return figures


def cost_of_looking() -> Figures:
    """What people and clients pay who look into the ledger."""
    some, nobody = (UUID(f"0198f3a1-0000-7000-8000-{number:012}") for number in (3, 999))
    dead = Job.objects.filter(state=State.DEAD)
    return {
        "GET /v1/jobs of one client in twenty": cost(lambda: page(some)),
        "GET /v1/jobs?state=dead": cost(lambda: page(some, State.DEAD)),
        "GET /v1/jobs of a client without any": cost(lambda: page(nobody)),
        "jobs list": cost(lambda: listing.listing(Job.objects.all(), limit=20)),
        "jobs list --state dead": cost(lambda: listing.listing(dead, limit=20)),
        "jobs stats": cost(stats.stats),
        "jobs why: its children": cost(lambda: list(Job.objects.filter(parent_id=uuid4()))),
        "doctor: waiting": cost(doctor.waiting_jobs),
        "doctor: running": cost(doctor.running_jobs),
        "doctor: dead": cost(doctor.dead_jobs),
    }


# --- the queries ----------------------------------------------------------------------------------


def claimed(id_: UUID, worker: UUID) -> Claim:
    lease = timedelta(seconds=40)
    [claim] = Job.objects.claim([id_], task=TASK, token=uuid4(), worker=worker, pid=1, lease=lease)
    return claim


def put_back(claim: Claim) -> None:
    Job.objects.put_back(
        claim, due_at=timezone.now(), error={"type": "E", "message": "m"}, retried=True
    )


def ring(*, lost: bool = False) -> None:
    jobs = Job.objects.filter(queue="kaiten", ring_at__gte=mark("ring_at"))
    jobs.take_for_ring(ledger_settings.BATCH, lost=lost)


def running() -> JobQuerySet:
    return Job.objects.filter(lease_until__gte=mark("lease_until"))


def mark(column: str) -> datetime:
    """Where a process that has been at work since the first of these looks from."""
    return _waters.setdefault(column, LowWater(column, "kaiten")).mark


def page(client: UUID, state: State | None = None) -> None:
    """As api.endpoints.jobs lists them."""
    list(owned.newest(str(client), Q(), state=state, limit=21))


def newest(number: int) -> list[UUID]:
    jobs = Job.objects.filter(state=State.WAITING, queue="kaiten", due_at__lte=timezone.now())
    return list(jobs.order_by("-due_at").values_list("pk", flat=True)[:number])


def cost(do: Callable[[], Any]) -> int:
    return sum(plan.buffers for plan in plans_of(do))

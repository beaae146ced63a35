"""What may happen to bells: doubled, early, reordered, forged, and things that are no bells."""

import json
from random import Random
from uuid import UUID

from django.conf import settings
from redis import Redis

from celery_ledger.models import Job
from celery_ledger.publishing.bell import Ring
from config import celery_app
from tests.promises.chaos.places import NotNow

GARBAGE = ("x", "[1,2,3]", "{}", b"\xff\x00", '{"body": 1}')
FORGED = -1  # a number that nobody has promised


class BellFaults:
    def __init__(self, dice: Random, broker: Redis) -> None:
        self.dice, self.broker = dice, broker
        self.queue = settings.CELERY_TASK_DEFAULT_QUEUE

    def double_bells(self) -> None:
        """Three for jobs that wait, run, are not due yet or have long ended."""
        ring(
            [Ring(str(job.pk), job.task, job.queue) for job in self._some_jobs() for _ in range(3)]
        )

    def reorder_bells(self) -> None:
        bells = self.broker.lpop(self.queue, 1000)
        if not bells:
            raise NotNow
        assert isinstance(bells, list)  # for it was asked for a number of them
        self.dice.shuffle(bells)
        self.broker.lpush(self.queue, *bells)

    def put_garbage(self) -> None:
        self.broker.lpush(self.queue, *GARBAGE)

    def forge_bells(self) -> None:
        """For ids that are nobody's, for real jobs under another task's name, and with orders of
        their own.
        """
        tally = "tests.promises.chaos.tasks.tally"
        nobodys = [
            Ring(str(UUID(int=self.dice.getrandbits(128))), tally, self.queue) for _ in range(3)
        ]
        renamed = [
            Ring(str(job.pk), tally, job.queue) for job in self._some_jobs() if job.task != tally
        ]
        ring(nobodys + renamed)
        for message in [json.loads(bell) for bell in self.broker.lrange(self.queue, 0, 2)]:
            message["body"] = json.dumps(
                [[FORGED], {}, {"callbacks": None, "errbacks": None, "chain": None}]
            )
            message["headers"]["task"] = tally
            message["properties"]["body_encoding"] = None
            self.broker.lpush(self.queue, json.dumps(message))

    def _some_jobs(self) -> list[Job]:
        """The newest, and those that wait the longest."""
        newest = Job.objects.order_by("-created_at")[:60]
        waiting = Job.objects.filter(state="waiting").order_by("ring_at")[:60]
        by_id = {job.pk: job for job in [*newest, *waiting]}
        return self.dice.sample(list(by_id.values()), min(20, len(by_id)))


def ring(rings: list[Ring]) -> None:
    if not rings or not celery_app.amqp.bell.ring(rings):
        raise NotNow

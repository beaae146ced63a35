"""Old and new dynos at once: a new task, a removed one and a migration, and no job is dropped or
done twice.
"""

from collections import Counter
from collections.abc import Iterator

import pytest
from django.db import connection

from celery_ledger.models import Job
from tests.promises.processes import Stack, Tree
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
PACKED, LABELLED, WEIGHED = 40, 5, 6


@pytest.fixture(autouse=True)
def no_trace() -> Iterator[None]:
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS packing_parcel")
        cursor.execute("DELETE FROM django_migrations WHERE app = 'packing'")


class Release:
    """A release's dynos and commands."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack, self.name = stack, name
        self.settings = f"tests.promises.dynos.releases.{name}.settings"

    def run(self, *command: str, status: int = 0) -> str:
        return self.stack.run(
            "manage.py", *command, status=status, DJANGO_SETTINGS_MODULE=self.settings
        )

    def promise(self, task: str, numbers: range) -> None:
        module = f"tests.promises.dynos.releases.{self.name}.tasks"
        self.run(
            "shell", "-c", f"from {module} import {task}\nfor n in {numbers!r}: {task}.delay(n)"
        )

    def worker(self) -> Tree:
        return self.stack.start(
            "worker", "--concurrency", "1", DJANGO_SETTINGS_MODULE=self.settings
        )


def jobs(task: str) -> Counter[str]:
    return Counter(Job.objects.filter(task=f"packing.{task}").values_list("state", flat=True))


def parcels() -> Counter[tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT by, number FROM packing_parcel")
        return Counter(cursor.fetchall())


@pytest.mark.soak
def test_a_rolling_release_drops_no_job_and_does_none_twice(stack: Stack) -> None:
    old, new = Release(stack, "old"), Release(stack, "new")
    old.run("release")
    old.promise("pack", range(PACKED))
    before = old.worker()
    until(lambda: jobs("pack")["done"] > 3, "the old worker works", within_s=60)

    new.run("release")  # the migration, beside a worker that does not know the column
    leave_a_new_task_to_others(before, old, new)
    after = new.worker()
    until(
        lambda: jobs("label")["done"] == LABELLED, "the new worker does the new task", within_s=60
    )
    until(lambda: jobs("pack")["done"] == PACKED, "both do what both know", within_s=60)
    assert (before.process.poll(), after.process.poll()) == (None, None)
    before.kill()

    keep_a_removed_task_in_sight(after, old, new)
    assert Job.objects.exclude(state="done").count() == jobs("weigh")["cancelled"] == 2
    expected = [("pack", PACKED), ("label", LABELLED), ("weigh", WEIGHED)]
    assert parcels() == Counter(
        (by, number) for by, numbers in expected for number in range(numbers)
    )


def leave_a_new_task_to_others(before: Tree, old: Release, new: Release) -> None:
    """A worker of the old release hears of it, does not do it, and goes on with its own."""
    new.promise("label", range(LABELLED))
    until(
        lambda: "packing.label" in before.output(),
        "the old worker has heard of the new task",
        within_s=60,
    )
    assert jobs("label") == {"waiting": LABELLED}
    old.promise("weigh", range(WEIGHED))
    until(
        lambda: jobs("weigh")["done"] == WEIGHED,
        "the old worker does what the new release no longer knows",
        within_s=60,
    )


def keep_a_removed_task_in_sight(after: Tree, old: Release, new: Release) -> None:
    """Its jobs wait untried, every command names them, and they can be cancelled."""
    old.promise("weigh", range(WEIGHED, WEIGHED + 2))
    until(
        lambda: "packing.weigh" in after.output(),
        "the new worker has heard of the removed task",
        within_s=60,
    )
    why = new.run("jobs", "why", str(waiting().pk))
    assert "this release knows no task packing.weigh" in why
    findings = new.run("doctor", status=1)
    assert "This release has no task for due jobs: 2 of packing.weigh." in findings
    assert (waiting().attempts, waiting().losses) == (0, 0)
    assert "cancelled: 2." in new.run("jobs", "cancel", "--task", "packing.weigh")


def waiting() -> Job:
    return Job.objects.filter(task="packing.weigh", state="waiting").first() or pytest.fail(
        "none waits"
    )

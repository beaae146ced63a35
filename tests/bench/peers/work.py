"""A table of work, as a project writes it that has no framework for it."""

from typing import ClassVar

from django.db import connection, models, transaction
from django.db.models.functions import Now

CREATE = """
CREATE TABLE bench_work (id bigserial PRIMARY KEY, number int NOT NULL, done_at timestamptz);
CREATE INDEX bench_work_waits ON bench_work (id) WHERE done_at IS NULL;
"""
DROP = "DROP TABLE bench_work"


class Work(models.Model):
    number = models.IntegerField()
    done_at = models.DateTimeField(null=True)

    objects: ClassVar = models.Manager["Work"]()

    class Meta:
        app_label = "bench"
        db_table = "bench_work"
        managed = False

    def __str__(self) -> str:
        return str(self.number)


def count(number: int) -> None:
    """The job's body, of the ledger and of each peer."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO tally VALUES (%s)", [number])


def work_off() -> None:
    """Until nothing waits any more."""
    while _one():
        pass


def _one() -> bool:
    with transaction.atomic():
        waiting = Work.objects.filter(done_at=None).order_by("pk")
        work = waiting.select_for_update(skip_locked=True).first()
        if work is None:
            return False
        count(work.number)
        work.done_at = Now()
        work.save(update_fields=["done_at"])
    return True

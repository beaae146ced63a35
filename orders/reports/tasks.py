"""A day is computed by a chord: its parts side by side, then one job that adds them up and keeps
the reports.
"""

from datetime import date, datetime, timedelta

from celery import chord, shared_task
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from celery_ledger import context
from orders.reports import figures
from orders.reports.days import Day, day_of
from orders.reports.models import Computation, DailyReport


def promise(day: date) -> None:
    """Have this day computed, as of now, unless that is under way already.

    The job belongs to nobody, whoever asked for the report: a client could cancel its own.
    """
    house = {name: value for name, value in context.current().items() if name != "client"}
    with transaction.atomic(), context.replaced(house):
        if computation := Computation.objects.begin(Day(day), timezone.now()):
            divide.apply_async((str(computation.pk),), link_error=abandon.si(str(computation.pk)))


@shared_task
def compute_missing_days() -> None:
    """Promise every day that is over and has no report: yesterday, and what was missed of
    REPORT_CATCH_UP_DAYS.
    """
    now, first = timezone.now(), figures.first_moment()
    if first is None:
        return
    past = [
        day_of(now) - timedelta(days=ago) for ago in range(settings.REPORT_CATCH_UP_DAYS, 0, -1)
    ]
    over = [day for day in past if day >= day_of(first) and Day(day).is_settled(now)]
    for day in DailyReport.objects.missing(over):
        promise(day)


@shared_task
def compute_day(day: str) -> None:
    """Compute a day (yyyy-mm-dd) again, or for the first time. The staff is not mailed twice."""
    promise(date.fromisoformat(day))


@shared_task
def outdate(first: str, last: str) -> None:
    """Have the reports of these days (yyyy-mm-dd) computed anew when they are asked for: events
    were added to them later. Those that are being computed are dropped. The staff is not mailed
    twice.
    """
    days = (date.fromisoformat(first), date.fromisoformat(last))
    Computation.objects.filter(day__range=days).delete()
    DailyReport.objects.filter(day__range=days, final=True).update(final=False)


@shared_task
def divide(computation_id: str) -> None:
    """Promise the parts, each of a bounded number of events, and what follows when all are done."""
    computation = Computation.objects.locked(computation_id)
    if computation is None:
        return
    parts = [
        compute_part.si(computation_id, begin.isoformat(), end.isoformat())
        for begin, end in computation.parts()
    ]
    chord(parts, add_up.si(computation_id).on_error(abandon.si(computation_id))).apply_async()


@shared_task
def compute_part(computation_id: str, begin: str, end: str) -> None:
    computation = Computation.objects.filter(pk=computation_id).first()
    if computation is not None:
        computation.keep_part(datetime.fromisoformat(begin), datetime.fromisoformat(end))


@shared_task
def add_up(computation_id: str) -> None:
    computation = Computation.objects.locked(computation_id)
    if computation is not None:
        computation.add_up()


@shared_task
def abandon(computation_id: str) -> None:
    """Drop a computation of which a job died; whoever asks next begins anew."""
    Computation.objects.filter(pk=computation_id).delete()

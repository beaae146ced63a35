"""What is kept of a day: its report for each client and for all of them, and the parts of one being
computed.
"""

from datetime import date, datetime
from typing import Any, cast

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from notifications import events
from orders.models.client import Client
from orders.reports import snapshots
from orders.reports.days import Day
from orders.reports.figures import Figures, added_up, keep_part, parts


class DailyReportQuerySet(models.QuerySet["DailyReport"]):
    def about(self, day: date, client: Client | None) -> "DailyReport | None":
        """The report that is kept for this client, or for all; None for none. Once a day is
        computed, a client for whom nothing moved has an empty report.
        """
        own = client.pk if client else None
        kept = {
            row.client_id: row
            for row in self.filter(models.Q(client=client) | models.Q(client=None), day=day)
        }
        everybodys = kept.get(None)
        if everybodys is None or own in kept:
            return kept.get(own)
        return DailyReport(day=day, client=client, **everybodys.moment, figures=[])

    def locked(self, day: date) -> "DailyReport":
        """The report about all clients, a new and empty one if need be; locked until the
        transaction ends.
        """
        blank = DailyReport(
            day=day,
            client=None,
            time_zone=settings.TIME_ZONE,
            as_of=Day(day).begin,
            final=False,
            figures=[],
        )
        self.bulk_create([blank], ignore_conflicts=True)
        return self.select_for_update(no_key=True).get(day=day, client=None)

    def missing(self, days: list[date]) -> list[date]:
        """The days of these that have no final report."""
        there = set(
            self.filter(day__in=days, client=None, final=True).values_list("day", flat=True)
        )
        return [day for day in days if day not in there]


class DailyReport(models.Model):
    """The figures of a day for one client, or, without a client, for all of them: the staff's."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    day = models.DateField()
    client = models.ForeignKey(Client, on_delete=models.CASCADE, null=True, related_name="+")
    time_zone = models.TextField()  # the shop's, when it was computed
    as_of = models.DateTimeField()  # it knows what happened until then
    final = models.BooleanField()
    figures = models.JSONField()  # one for each currency
    computed_at = models.DateTimeField(db_default=Now())

    objects = DailyReportQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="daily_report_once", fields=["day", "client"], nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} for {self.client or 'all'}"

    @property
    def moment(self) -> dict[str, Any]:
        """The columns that tell of when its figures are."""
        return {"as_of": self.as_of, "time_zone": self.time_zone, "final": self.final}

    # --- verbs; the caller holds the lock of the report about all clients -------------------------

    def take(self, as_of: datetime, found: dict[Any, Figures]) -> None:
        """Keep these figures: the staff's, under None, and each client's. The staff is mailed a day
        once, when it becomes final.
        """
        was_final, self.final = self.final, as_of >= Day(self.day).settled_at
        self.as_of, self.time_zone = as_of, settings.TIME_ZONE
        self.figures = found.get(None, [])
        self.save(update_fields=["as_of", "time_zone", "final", "figures"])
        DailyReport.objects.filter(pk=self.pk).update(computed_at=Now())
        DailyReport.objects.filter(day=self.day, client__isnull=False).delete()
        DailyReport.objects.bulk_create(
            DailyReport(day=self.day, client_id=client, **self.moment, figures=of_client)
            for client, of_client in found.items()
            if client is not None
        )
        if self.final and not was_final and not events.timeline(self.pk).exists():
            self._tell_staff()

    def _tell_staff(self) -> None:
        if settings.REPORT_EMAILS:
            events.record(
                "report.daily",
                subject=self.pk,
                seq=1,
                owner=None,
                data={
                    "mail": {"to": settings.REPORT_EMAILS, "language": settings.LANGUAGE_CODE},
                    "report": self.snapshot(),
                },
            )

    def snapshot(self) -> snapshots.Report:
        """The report as the API and the mail show it: JSON, money in integer minor units."""
        return report_of(self.day, self.figures, **self.moment)


def report_of(
    day: date, of_currencies: Figures, *, as_of: datetime, final: bool, time_zone: str | None = None
) -> snapshots.Report:
    """A report of these figures, whether or not it is kept; without a time zone in that of now."""
    return {
        "date": day.isoformat(),
        "time_zone": time_zone or settings.TIME_ZONE,
        "final": final,
        "as_of": as_of.isoformat(),
        "currencies": cast("list[snapshots.CurrencyFigures]", of_currencies),
    }


class ComputationQuerySet(models.QuerySet["Computation"]):
    def begin(self, day: Day, now: datetime) -> "Computation | None":
        """A new computation of this day as of now; None while another one does that already."""
        self.filter(day=day.date, promised_at__lt=Now() - settings.REPORT_PATIENCE).delete()
        mine = Computation(day=day.date, as_of=day.as_of(now))
        self.bulk_create([mine], ignore_conflicts=True)
        return self.filter(pk=mine.pk).first()

    def locked(self, pk: str) -> "Computation | None":
        """The computation, locked until the transaction ends; None when it was given up."""
        return self.select_for_update(no_key=True).filter(pk=pk).first()


class Computation(models.Model):
    """A day being computed. Its parts write figures; when the last has ended they become reports,
    and it is gone.
    """

    id = models.UUIDField(primary_key=True, default=uuid7)
    day = models.DateField()
    as_of = models.DateTimeField()
    promised_at = models.DateTimeField(db_default=Now())

    objects = ComputationQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(name="computation_once", fields=["day", "as_of"])]

    def __str__(self) -> str:
        return f"{self.day} as of {self.as_of}"

    def parts(self) -> list[tuple[datetime, datetime]]:
        return parts(Day(self.day), until=self.as_of)

    def keep_part(self, begin: datetime, end: datetime) -> None:
        keep_part(self.pk, Day(self.day), begin=begin, end=end)

    def add_up(self) -> None:
        """Turn the parts into reports, unless some are kept that know more. Those of another time
        zone are about other hours, and give way. The caller holds the lock.
        """
        report = DailyReport.objects.locked(self.day)
        if report.as_of <= self.as_of or report.time_zone != settings.TIME_ZONE:
            report.take(self.as_of, added_up(self.pk, Day(self.day)))
        self.delete()


class Part(models.Model):
    """What a part of a computation found for one client and currency. In SQL: see
    `orders.reports.figures`.
    """

    computation = models.ForeignKey(Computation, on_delete=models.CASCADE, related_name="+")
    client_id = models.UUIDField()
    currency = models.TextField()

    class Meta:
        abstract = True


class HourFigure(Part):
    hour = models.IntegerField()  # counted from the day's beginning
    orders = models.BigIntegerField()
    gross = models.BigIntegerField()
    refunds = models.BigIntegerField()

    def __str__(self) -> str:
        return f"hour {self.hour}"


class SkuFigure(Part):
    sku = models.TextField()
    name = models.TextField()
    quantity = models.BigIntegerField()
    amount = models.BigIntegerField()

    def __str__(self) -> str:
        return self.sku

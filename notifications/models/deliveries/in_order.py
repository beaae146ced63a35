"""Deliveries about one subject reach an endpoint that wants it so one after another, in the order
of their events (docs/adr/0049).

A delivery knows its subject and its `seq` there only if its endpoint was `ordered` while it waited
or when it was asked for again. Any other waits for nobody, and pays for nothing of this.
"""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection, models
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from celery_ledger import Job
from notifications.models.event import Event

if TYPE_CHECKING:
    from notifications.models.deliveries.delivery import Delivery

SUBJECT = 0x7375626A  # the advisory locks of an endpoint's subjects: "subj"


class InOrderQuerySet(models.QuerySet["Delivery"]):
    def ahead_of(self, delivery: "Delivery") -> "Delivery | None":
        """The first one about its subject that waits for the same endpoint, if its event comes
        before this one's; None also where no order is wanted.
        """
        if delivery.subject is None or not (delivery.endpoint and delivery.endpoint.ordered):
            return None
        return self._waiting(delivery).filter(seq__lt=delivery.seq).first()

    def hold_back(self, delivery: "Delivery") -> float | None:
        """Give it a new `job`, which the caller promises: in so many seconds, 0.0 when nobody is
        ahead of it any more. None, and nothing is to be promised, when it waits for another job
        already or has ended. In the settling transaction of the old job.
        """
        job = uuid7()
        still = self.filter(pk=delivery.pk, job=delivery.job, state=self.model.State.WAITING)
        if not still.update(job=job):
            return None
        delivery.job = job
        self._lock_subject(delivery)
        ahead = self.ahead_of(delivery)
        return _pause_s(delivery, ahead) if ahead else 0.0

    def bring_next(self, ended: "Delivery") -> None:
        """Make the next one that was held back behind this one due now, in the transaction that
        ends this one: either that of `hold_back` comes after it and finds nobody ahead, or this
        finds the job that was promised there.
        """
        if ended.subject is None:
            return
        self._lock_subject(ended)
        first = self._waiting(ended).first()
        if first and first.job and (first.seq or 0) > (ended.seq or 0):
            Job.objects.run_now([first.job])

    def put_in_order(self) -> None:
        """Write the place in the life of its subject on those that have none: they were made before
        their endpoint wanted an order.
        """
        event = Event.objects.filter(pk=OuterRef("event"))
        self.filter(subject=None).update(
            subject=Subquery(event.values("subject")[:1]), seq=Subquery(event.values("seq")[:1])
        )

    def _waiting(self, delivery: "Delivery") -> "InOrderQuerySet":
        """Those about the same subject that still are to reach the same endpoint, in the order of
        their events. Not one whose job has ended, or so old that its job may have been pruned:
        nobody brings it.
        """
        ended_at = Job.objects.filter(pk=OuterRef("job")).values("finished_at")
        queue = self.alias(begun=Coalesce("resent_at", "created_at"), ended_at=Subquery(ended_at))
        recent = Q(begun__gt=Now() - 2 * settings.DELIVERY_MAX_AGE, ended_at=None)
        waits = Q(recent, state=self.model.State.WAITING) | Q(resend=True)
        of_subject = queue.filter(waits, endpoint=delivery.endpoint_id, subject=delivery.subject)
        return of_subject.order_by("seq")

    def _lock_subject(self, delivery: "Delivery") -> None:
        """Lock the subject of this endpoint until the transaction ends. Whoever locks the rows of
        endpoint and delivery too locks them first.
        """
        of_endpoint = f"{delivery.endpoint_id} {delivery.subject}"
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [SUBJECT, of_endpoint])


def _pause_s(delivery: "Delivery", ahead: "Delivery") -> float:
    """In how many seconds to look again whether `ahead` still is: soon after its next try, which
    makes this one due by itself unless it is killed. The more events lie between the two the later,
    so that of very many that wait few are looked at.
    """
    job = Job.objects.filter(pk__in=[ahead.job], finished_at=None).first()
    due_in_s = (job.due_at - timezone.now()).total_seconds() if job else 0.0
    places = (delivery.seq or 0) - (ahead.seq or 0)
    pause_s: float = max(due_in_s, 0.0) + places * settings.DELIVERY_HELD_BACK_S
    return min(pause_s, settings.DELIVERY_HELD_BACK_MAX_S)

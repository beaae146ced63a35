"""How deliveries are written, found, forgotten and locked."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models.functions import Greatest, Now
from django.utils import timezone
from psycopg.types.json import Jsonb

from celery_ledger import Job
from notifications.models.deliveries.again import AgainQuerySet
from notifications.models.deliveries.attempt import NO_MAILBOX, Answer, Attempt
from notifications.models.deliveries.telling import DELIVERIES, EVENT, NewDelivery
from notifications.models.event import EVERYBODYS, TEST, Event
from notifications.models.suppression import Suppression
from values.ids import first_id

if TYPE_CHECKING:
    from notifications.models.deliveries.delivery import Delivery

# Unless `anyway`, not while there is something to set back in the row of its endpoint: that has to
# be locked before the delivery's.
ARRIVED = """
WITH arrived AS (
    UPDATE notifications_delivery AS delivery
       SET state = 'delivered', delivered_at = statement_timestamp(), tries = tries + 1
     WHERE id = %(delivery)s
       AND (%(anyway)s OR NOT EXISTS (
            SELECT FROM notifications_endpoint AS endpoint
             WHERE endpoint.id = delivery.endpoint_id AND (failures > 0 OR NOT quick)))
    RETURNING id
)
INSERT INTO notifications_attempt (delivery_id, ok, answer, duration_ms, body, request_headers)
SELECT id, true, %(answer)s, %(duration_ms)s, %(body)s, %(request_headers)s::jsonb FROM arrived
"""
ERASED = "(erased)"  # instead of what a mail server has answered


class DeliveryQuerySet(AgainQuerySet):
    def tell(
        self, event: Event, named: list[tuple[str, str]], *, is_new: bool = True
    ) -> list[NewDelivery]:
        """Write the event, if it is new, and one delivery to each that is named (channel and
        target) and to each endpoint that listens. Returns those that did not exist yet.
        """
        values: dict[str, Any] = {
            "event": event.pk,
            "kind": event.kind,
            "subject": event.subject,
            "seq": event.seq,
            "owner": event.owner,
            "data": json.dumps(event.data),
            "at": event.at if isinstance(event.at, datetime) else None,
            "channels": [channel for channel, _ in named],
            "names": [name for _, name in named],
            "run": settings.ENDPOINT_FAILURES_MAX,
        }
        whose = "true" if event.kind in EVERYBODYS else "owner = %(owner)s"
        with connection.cursor() as cursor:
            cursor.execute(
                f"WITH {EVENT if is_new else ''}{DELIVERIES.replace('{whose}', whose)}", values
            )
            return [NewDelivery(*row) for row in cursor.fetchall()]

    def arrived(
        self, delivery: "Delivery", answer: Answer, *, after_s: float, anyway: bool
    ) -> bool:
        """Write that this try arrived, with its Attempt. Unless `anyway`, an endpoint that was in
        trouble until now leaves all unwritten, and False is returned.
        """
        values = answer.kept(after_s=after_s)
        values["request_headers"] = answer.request_headers and Jsonb(answer.request_headers)
        with connection.cursor() as cursor:
            cursor.execute(ARRIVED, {"delivery": delivery.pk, "anyway": anyway, **values})
            return bool(cursor.rowcount)

    def in_line(self, endpoint_id: Any, *, after: Any, limit: int) -> list["Delivery"]:
        """Up to `limit` that wait for this endpoint, with ids beyond `after` if that is given; the
        oldest first.
        """
        waiting = self.filter(
            endpoint=endpoint_id, state=self.model.State.WAITING, job__isnull=False
        )
        beyond = waiting.filter(pk__gt=after) if after else waiting
        return list(beyond.order_by("pk")[:limit])

    def undelivered(self, endpoint_id: Any, *, since: datetime) -> tuple[int, int]:
        """How many wait for this endpoint, and how many made since then were given up; each up to
        METRICS_ROWS_MAX.
        """
        state, limit = self.model.State, settings.METRICS_ROWS_MAX
        of_endpoint = self.filter(endpoint=endpoint_id).exclude(event__kind=TEST)
        waiting = of_endpoint.filter(state=state.WAITING)
        given_up = of_endpoint.filter(state=state.FAILED, pk__gte=first_id(since))
        return waiting[:limit].count(), given_up[:limit].count()

    def of_endpoint(self, endpoint_id: Any) -> "DeliveryQuerySet":
        """Those to this endpoint, newest first, each with its event, with `last_attempts` (a list
        of its last one, or of none) and with `next_try_at` (None when no job brings it).
        """
        last = Attempt.objects.order_by("delivery_id", "-pk").distinct("delivery_id")
        due_at = Job.objects.filter(pk=models.OuterRef("job"), finished_at=None).values("due_at")
        of_endpoint = self.filter(endpoint=endpoint_id).select_related("event").order_by("-pk")
        with_next: DeliveryQuerySet = of_endpoint.annotate(next_try_at=models.Subquery(due_at))
        last_attempts = models.Prefetch("attempts", queryset=last, to_attr="last_attempts")
        return with_next.prefetch_related(last_attempts)

    def mails_about(self, subject: UUID) -> "DeliveryQuerySet":
        """The mails of the subject's events, with these, the oldest first."""
        mails = self.filter(event__subject=subject, channel=self.model.Channel.MAIL)
        return mails.select_related("event").order_by("pk")

    def shows_no_mailbox(self, delivery: "Delivery") -> bool:
        """Whether the mail server has known no mailbox at this address for MAILBOX_ASKED_AGAIN, and
        has meanwhile taken mails to at least as many other addresses as it has refused so: else
        the fault may be the server's, or in how we reach it.
        """
        tries = delivery.attempts.filter(answer__startswith=NO_MAILBOX, at__gte=delivery.begun_at)
        first_at = tries.aggregate(at=models.Min("at"))["at"]
        if not first_at or first_at > timezone.now() - settings.MAILBOX_ASKED_AGAIN:
            return False
        newest = self.order_by("-pk").values("pk")[: settings.METRICS_ROWS_MAX]
        mails = self.filter(pk__in=newest, channel=self.model.Channel.MAIL)
        served = mails.filter(delivered_at__gt=first_at).exclude(target=delivery.target)
        refused = mails.filter(
            delivered_at=None, attempts__answer__startswith=NO_MAILBOX, attempts__at__gte=first_at
        )
        return _targets(served) >= _targets(refused)

    @transaction.atomic
    def suppress(self, delivery: "Delivery", answer: str) -> None:
        """Put its address on the list of those that nothing is mailed to, with the mail server's
        answer; as a hash, if its person was erased meanwhile.
        """
        is_erased = not self.locked(delivery.pk).target
        why = Suppression.Why.BOUNCED
        Suppression.objects.add(delivery.target, why=why, details=answer, is_erased=is_erased)

    def forget_person(self, subject: UUID) -> None:
        """Erase the addresses of the mails about this subject, and on the list of addresses that
        nothing is mailed to keep hashes of them. Mails that wait are given up; one that is being
        sent arrives and is noted so. Erase also what webhooks about it were answered with and mail
        servers have objected, where an address may stand again.
        """
        mails = self.mails_about(subject)
        # the state beside the select, or what arrives meanwhile would have failed as well
        waiting = self.filter(pk__in=mails.values("pk"), state=self.model.State.WAITING)
        waiting.update(state=self.model.State.FAILED)
        addresses = list(mails.values_list("target", flat=True))
        mails.update(target="")
        Suppression.objects.forget(addresses)
        # last, as whoever forgets deliveries comes to their attempts
        about = Attempt.objects.filter(delivery__event__subject=subject)
        about.update(body=None)
        about.filter(delivery__channel=self.model.Channel.MAIL, ok=False).update(answer=ERASED)

    def forget_old(self, limit: int) -> int:
        """Delete up to `limit` that ended longer than DELIVERY_KEEP ago, with their attempts; one
        that was given up counts from when it was made or last asked for again. Rows that somebody
        holds locked stay. Returns how many.
        """
        made = self.filter(pk__lt=first_id(timezone.now() - settings.DELIVERY_KEEP))
        ended = made.exclude(state=self.model.State.WAITING).filter(resend=False)
        last = Greatest("created_at", "resent_at", "delivered_at")
        old = ended.alias(last=last).filter(last__lt=Now() - settings.DELIVERY_KEEP).order_by("pk")
        ids = list(old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        self.filter(pk__in=ids).delete()
        return len(ids)

    def locked(self, pk: Any) -> "Delivery":
        """The delivery, locked until the transaction ends."""
        return self.select_for_update(no_key=True).get(pk=pk)


def _targets(deliveries: DeliveryQuerySet) -> int:
    return deliveries.values("target").distinct().count()

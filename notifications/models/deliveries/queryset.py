"""How deliveries are written, found, sent again and locked."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Case, Q, When
from django.db.models.functions import Greatest, Now
from django.utils import timezone
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from celery_ledger import Job
from notifications.models.deliveries.attempt import NO_MAILBOX, Answer, Attempt
from notifications.models.deliveries.in_order import InOrderQuerySet
from notifications.models.deliveries.telling import DELIVERIES, EVENT, Told
from notifications.models.endpoint import Endpoint
from notifications.models.event import EVERYBODYS, TEST, Event
from notifications.models.suppression import Suppression
from values.ids import CLOCK_SKEW, first_id

if TYPE_CHECKING:
    from notifications.models.deliveries.delivery import Delivery

# Not while there is something to set back in its endpoint's row, which is locked before it is.
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


ERASED = "(erased)"  # what a mail server has said


class DeliveryQuerySet(InOrderQuerySet):
    def tell(
        self, event: Event, named: list[tuple[str, str]], *, is_new: bool = True
    ) -> list[Told]:
        """Write the event, unless it stands there already, and one delivery to each that is named
        (its channel and target) and to each endpoint that listens: those that did not exist yet.
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
            return [Told(*row) for row in cursor.fetchall()]

    def arrived(
        self, delivery: "Delivery", answer: Answer, *, after_s: float, anyway: bool
    ) -> bool:
        """This try of it arrived, with that answer: written `anyway`, or else unless its endpoint
        was in trouble until now, and then False.
        """
        values = answer.kept(after_s=after_s)
        values["request_headers"] = answer.request_headers and Jsonb(answer.request_headers)
        with connection.cursor() as cursor:
            cursor.execute(ARRIVED, {"delivery": delivery.pk, "anyway": anyway, **values})
            return bool(cursor.rowcount)

    def in_line(self, endpoint_id: Any, *, after: Any, limit: int) -> list["Delivery"]:
        """Up to `limit` that wait for this endpoint, the oldest first."""
        waiting = self.filter(
            endpoint=endpoint_id, state=self.model.State.WAITING, job__isnull=False
        )
        return list((waiting.filter(pk__gt=after) if after else waiting).order_by("pk")[:limit])

    def undelivered(self, endpoint_id: Any, *, since: datetime) -> tuple[int, int]:
        """How many wait for this endpoint, and how many since then were given up; each up to
        METRICS_ROWS_MAX.
        """
        state, limit = self.model.State, settings.METRICS_ROWS_MAX
        of_endpoint = self.filter(endpoint=endpoint_id).exclude(event__kind=TEST)
        waiting = of_endpoint.filter(state=state.WAITING)
        given_up = of_endpoint.filter(state=state.FAILED, pk__gte=first_id(since))
        return waiting[:limit].count(), given_up[:limit].count()

    def shown(self, endpoint_id: Any) -> "DeliveryQuerySet":
        """Those of an endpoint, newest first, each with its event, its last attempt and when it is
        tried next.
        """
        last = Attempt.objects.order_by("delivery_id", "-pk").distinct("delivery_id")
        due_at = Job.objects.filter(pk=models.OuterRef("job"), finished_at=None).values("due_at")
        of_endpoint = self.filter(endpoint=endpoint_id).select_related("event").order_by("-pk")
        shown: DeliveryQuerySet = of_endpoint.annotate(
            next_try_at=models.Subquery(due_at)
        ).prefetch_related(models.Prefetch("attempts", queryset=last, to_attr="last_attempts"))
        return shown

    def retryable(
        self, *, since: datetime, until: datetime | None = None, everything: bool = False
    ) -> "DeliveryQuerySet":
        """What may be sent again of that time: what was given up, or everything that has ended.

        What is on its way already, or was asked for a moment ago, is not: asking twice does no
        harm. Nor what has nowhere to go: to an endpoint that is disabled, or an address forgotten.
        """
        able = Q(channel=self.model.Channel.MAIL) | Q(
            endpoint__active=True, endpoint__disabled_at=None
        )
        over = self._over(since, until, everything).filter(able)
        return over.exclude(event__kind=TEST)

    def count_retryable(
        self,
        endpoint: Endpoint | None,
        *,
        since: datetime,
        until: datetime,
        everything: bool,
        limit: int,
    ) -> tuple[int, bool]:
        """How many `retryable` ones go to this endpoint, or None: to people, by mail, among the
        first `limit` of that time that an index has; True: there are more to be looked at.
        """
        if endpoint and not (endpoint.active and endpoint.disabled_at is None):
            return 0, False
        channel = self.model.Channel.WEBHOOK if endpoint else self.model.Channel.MAIL
        is_over = self._made(since, until) & self._is_over(everything)
        is_meant = is_over & Q(channel=channel) & ~Q(target="")
        way = self._way(endpoint, since, until, everything)
        columns = way.annotate(is_meant=Case(When(is_meant, then=True), default=False))
        looked_at = list(columns.values_list("event", "is_meant")[: limit + 1])
        # the events of all of them at once: one by one they would be four times as dear
        events = [event for event, is_meant in looked_at[:limit] if is_meant]
        tests = Event.objects.filter(pk__in=events, kind=TEST).count() if endpoint else 0
        return len(events) - tests, len(looked_at) > limit

    def _way(
        self, endpoint: Endpoint | None, since: datetime, until: datetime, everything: bool
    ) -> "DeliveryQuerySet":
        """Those of about that time in which these stand, as the index has them that has the fewest
        others: the newest first, since what is sent again begins with the oldest.
        """
        state, end = self.model.State, min(until, timezone.now()) + CLOCK_SKEW
        way = self.filter(pk__gte=first_id(since - CLOCK_SKEW), pk__lt=first_id(end))
        if endpoint and not everything:  # in any order, or Postgres may sort all that there are
            return way.filter(endpoint=endpoint, state=state.FAILED)
        if endpoint:
            way = way.filter(endpoint=endpoint)
        elif not everything:
            way = way.filter(Q(state=state.FAILED) | Q(state=state.WAITING, tries__gt=0))
        return way.order_by("-pk")

    def ask_again(
        self, chosen: "DeliveryQuerySet", *, everything: bool = False
    ) -> tuple[int, bool]:
        """Mark up to WEBHOOK_REPLAY_MAX of these `retryable` ones of one target, which is locked if
        it is an endpoint: how many, and whether more are left.
        """
        next_ones = chosen.order_by("pk").values("pk")[: settings.WEBHOOK_REPLAY_MAX]
        # asked once more of what it finds locked: somebody else may have had the same thought
        still = self.filter(self._is_over(everything), pk__in=next_ones)
        count = still.update(resend=True, resent_at=Now())
        return count, count == settings.WEBHOOK_REPLAY_MAX and chosen.exists()

    def _over(
        self, since: datetime, until: datetime | None, everything: bool
    ) -> "DeliveryQuerySet":
        made = self.filter(self._made(since, until), pk__gte=first_id(since - CLOCK_SKEW))
        return made.filter(self._is_over(everything)).exclude(target="")

    def _made(self, since: datetime, until: datetime | None) -> Q:
        made = Q(created_at__gte=since)
        return made & Q(created_at__lt=until) if until else made

    def _is_over(self, everything: bool) -> Q:
        state = self.model.State
        ended = [state.FAILED, state.DELIVERED] if everything else [state.FAILED]
        rested = Q(resent_at=None) | Q(resent_at__lt=Now() - settings.WEBHOOK_REPLAY_REST)
        return Q(rested, state__in=ended, resend=False)

    def begin_again(self, endpoint_id: Any, *, after: Any, limit: int) -> list["Delivery"]:
        """Up to `limit` of the marked ones wait anew, with a new job each; the oldest first. The
        endpoint is locked; None: of mails.
        """
        marked = self.filter(endpoint=endpoint_id, resend=True, pk__gt=after).select_related(
            "endpoint"
        )
        again = list(marked.select_for_update(no_key=True, of=("self",)).order_by("pk")[:limit])
        for delivery in again:
            delivery.state, delivery.tries, delivery.delivered_at = (
                self.model.State.WAITING,
                0,
                None,
            )
            delivery.resend, delivery.suppressed, delivery.job = False, False, uuid7()
        self.bulk_update(again, ["state", "tries", "delivered_at", "resend", "suppressed", "job"])
        return again

    def forget_asked(self, endpoint_id: Any) -> None:
        """What was to be sent again stays as it ended. The endpoint is locked."""
        self.filter(endpoint=endpoint_id, resend=True).update(resend=False, resent_at=None)

    def mails_about(self, subject: UUID) -> "DeliveryQuerySet":
        mails = self.filter(event__subject=subject, channel=self.model.Channel.MAIL)
        return mails.select_related("event").order_by("pk")

    def shows_no_mailbox(self, delivery: "Delivery") -> bool:
        """Whether the mail server has known no mailbox there for MAILBOX_ASKED_AGAIN and meanwhile
        has taken mails to as many others as it has known none of: else it may be the server that is
        wrong, or how we reach it.
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
    def suppress(self, delivery: "Delivery", said: str) -> None:
        """Put its address on the list; nobody can read it there who was erased meanwhile."""
        is_erased = not self.locked(delivery.pk).target
        why = Suppression.Why.BOUNCED
        Suppression.objects.add(delivery.target, why=why, said=said, is_erased=is_erased)

    def forget_person(self, subject: UUID) -> None:
        """The addresses of the mails about this subject, also on the list of those that are not
        mailed; one that is being sent arrives and is noted so. And what webhooks about it were
        answered with and mail servers have objected, which may say it again.
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
        """Delete up to `limit` that ended longer than DELIVERY_KEEP ago, with their attempts; what
        was given up, so long after it was made or asked for again. What somebody is at just now
        stays.
        """
        made = self.filter(pk__lt=first_id(timezone.now() - settings.DELIVERY_KEEP))
        ended = made.exclude(state=self.model.State.WAITING).filter(resend=False)
        last = Greatest("created_at", "resent_at", "delivered_at")
        old = ended.alias(last=last).filter(last__lt=Now() - settings.DELIVERY_KEEP).order_by("pk")
        ids = list(old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        self.filter(pk__in=ids).delete()
        return len(ids)

    def locked(self, pk: Any) -> "Delivery":
        return self.select_for_update(no_key=True).get(pk=pk)


def _targets(deliveries: DeliveryQuerySet) -> int:
    return deliveries.values("target").distinct().count()

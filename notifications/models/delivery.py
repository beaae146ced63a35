"""Events and who is told of them.

An event is a fact in the life of its subject, written in the transaction that made it true and
never edited. A delivery is one event on its way to one target over one channel; it exists once,
however often we try.
"""

import json
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from celery_ledger import Job, delay_s
from notifications.models.endpoint import Endpoint
from notifications.models.event import EVERYBODYS, TEST, Event
from values.ids import CLOCK_SKEW, first_id


class NotDelivered(Exception):
    """This try did not arrive, or we cannot know; the text is what the other side said."""


# One statement writes an event and who is told of it: who is named, and whoever listens now. An id
# begins as the event's does, so that deliveries are ordered as their events are.
EVENT = """
event AS (
    INSERT INTO notifications_event (id, kind, subject, seq, owner, data, at)
    VALUES (%(event)s, %(kind)s, %(subject)s, %(seq)s, %(owner)s, %(data)s,
            coalesce(%(at)s::timestamptz, statement_timestamp()))
), """
DELIVERIES = """
target AS (
    SELECT 'mail' AS channel, address AS name, NULL::uuid AS endpoint, %(owner)s::uuid AS owner,
           false AS in_trouble
      FROM unnest(%(addresses)s::text[]) AS address
    UNION ALL
    SELECT 'webhook', id::text, id, owner, failures > 0 FROM notifications_endpoint
     WHERE {whose} AND active AND events && ARRAY[%(kind)s, '*']
), delivery AS (
    INSERT INTO notifications_delivery
           (id, event_id, channel, target, endpoint_id, state, tries, job)
    SELECT overlay(gen_random_uuid()::text PLACING left(%(event)s::text, 23) FROM 1)::uuid,
           %(event)s, channel, name, endpoint, 'waiting', 0, gen_random_uuid()
      FROM target
        ON CONFLICT DO NOTHING RETURNING id, channel, endpoint_id, job
)
SELECT delivery.id, delivery.job, delivery.channel, coalesce(in_trouble, false),
       coalesce(owner, %(owner)s)
  FROM delivery LEFT JOIN target ON target.endpoint = delivery.endpoint_id
 ORDER BY delivery.channel, delivery.endpoint_id
"""


ARRIVED = """
WITH attempt AS (
    INSERT INTO notifications_attempt (delivery_id, ok, answer)
    VALUES (%(delivery)s, true, %(answer)s)
)
UPDATE notifications_delivery
   SET state = 'delivered', delivered_at = statement_timestamp(), tries = tries + 1
 WHERE id = %(delivery)s
"""


class Told(NamedTuple):
    """A delivery that was just written, and the job that it will have."""

    id: UUID
    job: UUID
    channel: str
    in_trouble: bool  # its endpoint is, and stands in nobody's way meanwhile
    owner: UUID | None  # whose job it will be


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def tell(self, event: Event, addresses: list[str], *, is_new: bool = True) -> list[Told]:
        """Write the event, unless it stands there already, and one delivery to each address and to
        each endpoint that listens: those that did not exist yet.
        """
        values: dict[str, Any] = {
            "event": event.pk,
            "kind": event.kind,
            "subject": event.subject,
            "seq": event.seq,
            "owner": event.owner,
            "data": json.dumps(event.data),
            "at": event.at if isinstance(event.at, datetime) else None,
            "addresses": addresses,
        }
        whose = "true" if event.kind in EVERYBODYS else "owner = %(owner)s"
        with connection.cursor() as cursor:
            cursor.execute(
                f"WITH {EVENT if is_new else ''}{DELIVERIES.replace('{whose}', whose)}", values
            )
            return [Told(*row) for row in cursor.fetchall()]

    def arrived(self, delivery: "Delivery", answer: str) -> None:
        """This try of it arrived, with that answer."""
        with connection.cursor() as cursor:
            cursor.execute(ARRIVED, {"delivery": delivery.pk, "answer": _kept(answer)})

    def in_line(self, endpoint_id: Any, *, after: Any, limit: int) -> list["Delivery"]:
        """Up to `limit` that wait for this endpoint, the oldest first."""
        waiting = self.filter(endpoint=endpoint_id, state=Delivery.State.WAITING, job__isnull=False)
        return list((waiting.filter(pk__gt=after) if after else waiting).order_by("pk")[:limit])

    def shown(self, endpoint_id: Any) -> "DeliveryQuerySet":
        """Those of an endpoint, newest first, each with its event, its last attempt and when it is
        tried next.
        """
        last = Attempt.objects.order_by("delivery_id", "-pk").distinct("delivery_id")
        due_at = Job.objects.filter(pk=models.OuterRef("job"), finished_at=None).values("due_at")
        of_endpoint = self.filter(endpoint=endpoint_id).select_related("event").order_by("-pk")
        return of_endpoint.annotate(next_try_at=models.Subquery(due_at)).prefetch_related(
            models.Prefetch("attempts", queryset=last, to_attr="last_attempts")
        )

    def ask_again(
        self, endpoint: Endpoint, *, since: datetime, everything: bool
    ) -> tuple[int, bool]:
        """Mark what is to be sent again of this locked endpoint: how many, and whether more are
        left.

        What is on its way already, or was asked for a moment ago, is not: asking twice does no
        harm.
        """
        made = self.filter(
            endpoint=endpoint, created_at__gte=since, pk__gte=first_id(since - CLOCK_SKEW)
        )
        ended = Q(state=Delivery.State.FAILED)
        if everything:
            ended |= Q(state=Delivery.State.DELIVERED)
        rested = Q(resent_at=None) | Q(resent_at__lt=Now() - settings.WEBHOOK_REPLAY_REST)
        chosen = made.filter(ended, rested, resend=False).exclude(event__kind=TEST).order_by("pk")
        next_ones = chosen.values("pk")[: settings.WEBHOOK_REPLAY_MAX]
        count = self.filter(pk__in=next_ones).update(resend=True, resent_at=Now())
        return count, count == settings.WEBHOOK_REPLAY_MAX and chosen.exists()

    def begin_again(self, endpoint_id: Any, *, after: Any, limit: int) -> list["Delivery"]:
        """Up to `limit` of the marked ones wait anew, with a new job each; the oldest first. The
        endpoint is locked.
        """
        marked = self.filter(endpoint=endpoint_id, resend=True, pk__gt=after).select_related(
            "endpoint"
        )
        again = list(marked.select_for_update(no_key=True, of=("self",)).order_by("pk")[:limit])
        for delivery in again:
            delivery.state, delivery.tries, delivery.delivered_at = Delivery.State.WAITING, 0, None
            delivery.resend, delivery.job = False, uuid7()
        self.bulk_update(again, ["state", "tries", "delivered_at", "resend", "job"])
        return again

    def forget_asked(self, endpoint_id: Any) -> None:
        """What was to be sent again stays as it ended. The endpoint is locked."""
        self.filter(endpoint=endpoint_id, resend=True).update(resend=False, resent_at=None)

    def mails_about(self, subject: UUID) -> "DeliveryQuerySet":
        mails = self.filter(event__subject=subject, channel=Delivery.Channel.MAIL)
        return mails.select_related("event").order_by("pk")

    def forget_addresses(self, subject: UUID) -> None:
        """Of the mails about this subject. One that is being sent arrives and is noted so."""
        mails = self.mails_about(subject)
        mails.filter(state=Delivery.State.WAITING).update(state=Delivery.State.FAILED)
        mails.update(target="")

    def locked(self, pk: Any) -> "Delivery":
        return self.select_for_update(no_key=True).get(pk=pk)


class Delivery(models.Model):
    class Channel(models.TextChoices):
        MAIL = "mail"
        WEBHOOK = "webhook"

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    # the webhook-id and the Message-ID, the same on every try
    id = models.UUIDField(primary_key=True, default=uuid7)
    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="deliveries")
    channel = models.TextField(choices=Channel)
    target = models.TextField()  # an address, or an endpoint's id
    endpoint = models.ForeignKey(  # found by the indexes below
        Endpoint, on_delete=models.SET_NULL, null=True, related_name="deliveries", db_index=False
    )
    state = models.TextField(choices=State, default=State.WAITING)
    tries = models.IntegerField(default=0)
    # the newest that brings it; no foreign key, since jobs are pruned
    job = models.UUIDField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    delivered_at = models.DateTimeField(null=True)
    # asked for again, and not on its way yet
    resend = models.BooleanField(default=False, db_default=False)
    resent_at = models.DateTimeField(null=True)  # when it was last asked for again

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(
                name="delivery_of_endpoint",
                fields=["endpoint", "id"],
                condition=Q(endpoint__isnull=False),
            ),
            models.Index(
                name="delivery_undelivered",
                fields=["endpoint", "state", "id"],
                condition=Q(endpoint__isnull=False, state__in=("waiting", "failed")),
            ),
            models.Index(
                name="delivery_asked_for", fields=["endpoint", "id"], condition=Q(resend=True)
            ),
        ]
        constraints = [
            models.UniqueConstraint(name="delivery_once", fields=["event", "channel", "target"]),
            models.CheckConstraint(
                name="delivered_has_time",
                condition=Q(state="delivered", delivered_at__isnull=False)
                | ~Q(state="delivered") & Q(delivered_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} to {self.target}"

    # --- verbs ------------------------------------------------------------------------------------

    def succeed(self, answer: str, *, after_s: float) -> bool:
        """It arrived. In the settling transaction of its job. True when its endpoint was in trouble
        until now.
        """
        recovered = self.endpoint_id is not None and Endpoint.objects.answered(
            self.endpoint_id, after_s=after_s
        )
        Delivery.objects.arrived(self, answer)
        return recovered

    def stumble(self, answer: str) -> None:
        """This try did not arrive; its endpoint rests."""
        self.attempts.create(ok=False, answer=_kept(answer))
        Delivery.objects.filter(pk=self.pk).update(tries=F("tries") + 1)
        if self.endpoint:
            Endpoint.objects.stumbled(self.endpoint)
        self.refresh_from_db(fields=["tries"])

    @property
    def is_hopeless(self) -> bool:
        return self.time_left_s <= 0 or self.tries >= (
            1 if self.is_test else settings.DELIVERY_MAX_TRIES
        )

    @property
    def time_left_s(self) -> float:
        """Until it is given up."""
        begun_at = self.resent_at or self.created_at
        return (begun_at + settings.DELIVERY_MAX_AGE - timezone.now()).total_seconds()

    @property
    def is_test(self) -> bool:
        """Tried once and at once: somebody is looking on."""
        return self.event.kind == TEST

    @property
    def is_unwanted(self) -> bool:
        """Its endpoint was removed."""
        return self.endpoint is not None and not self.endpoint.active

    @property
    def pause_s(self) -> float:
        """Until the next try."""
        return delay_s(
            self.tries, base_s=settings.DELIVERY_BACKOFF_S, cap_s=settings.DELIVERY_BACKOFF_CAP_S
        )

    def give_up(self) -> None:
        Delivery.objects.filter(pk=self.pk, state=self.State.WAITING).update(
            state=self.State.FAILED
        )


def _kept(answer: str) -> str:
    return answer[: settings.DELIVERY_ANSWER_MAX_CHARS]


class Attempt(models.Model):
    """One try of a delivery and what the other side said, for the people who ask why."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    ok = models.BooleanField()
    answer = models.TextField()
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.answer

    @property
    def status(self) -> int | None:
        """What an endpoint answered with, if it did."""
        status = self.answer.removeprefix("answered ")
        return int(status) if status != self.answer and status.isdigit() else None

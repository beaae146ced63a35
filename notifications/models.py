"""Events and who is told of them.

An event is a fact in the life of its subject, written in the transaction that made it true and never edited. A
delivery is one event on its way to one target over one channel; it exists once, however often we try.
"""

import base64
import hashlib
import hmac
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from jobs.backoff import delay_s


class NotDelivered(Exception):
    """This try did not arrive, or we cannot know; the text is what the other side said."""


class EventQuerySet(models.QuerySet["Event"]):
    def timeline(self, subject: UUID) -> "EventQuerySet":
        return self.filter(subject=subject).order_by("seq")


class Event(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7)
    kind = models.TextField()  # order.confirmed
    subject = models.UUIDField()  # whose life it belongs to
    seq = models.IntegerField()  # 1, 2, 3 … within the subject
    owner = models.UUIDField(null=True)  # whose endpoints hear of it, nobody's if it is the house's own matter; no
    # foreign key, since clients live in a higher room
    data = models.JSONField()  # a snapshot: every retry says the same
    at = models.DateTimeField(db_default=Now())

    objects = EventQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(name="event_seq_once", fields=["subject", "seq"])]
        indexes = [models.Index(name="event_at", fields=["at"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.seq}"


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    def take_turn(self, endpoint: "Endpoint") -> float:
        """0.0 when it may be called now, else for how many seconds it still rests.

        A healthy endpoint takes any number of calls at once, one that has just failed a single call after its rest:
        else a server that hangs would hold every worker, and everybody's orders with them.
        """
        if not endpoint.failures:
            return 0.0
        probe_ends = Now() + timedelta(seconds=2 * settings.WEBHOOK_TIMEOUT_S)
        if self.filter(pk=endpoint.pk, resting_until__lte=Now()).update(resting_until=probe_ends):
            return 0.0
        endpoint.refresh_from_db()
        rest = (endpoint.resting_until - timezone.now()).total_seconds() if endpoint.resting_until else 0.0
        return max(rest, 0.5)

    def stumbled(self, endpoint: "Endpoint") -> None:
        """It rests, twice as long after each failure."""
        rest_s = delay_s(endpoint.failures + 1, base_s=settings.ENDPOINT_REST_S, cap_s=settings.ENDPOINT_REST_CAP_S)
        self.filter(pk=endpoint.pk).update(failures=F("failures") + 1, resting_until=Now() + timedelta(seconds=rest_s))

    def listening_to(self, event: Event) -> "EndpointQuerySet":
        if event.owner is None:
            return self.none()
        return self.filter(owner=event.owner, active=True).filter(
            Q(events__contains=[event.kind]) | Q(events__contains=["*"])
        )


class Endpoint(models.Model):
    """A client's URL that hears of its events."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    owner = models.UUIDField()
    url = models.TextField()
    events = ArrayField(models.TextField())
    active = models.BooleanField(default=True)
    secret_version = models.IntegerField(default=1)
    failures = models.IntegerField(default=0)  # in a row
    resting_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = EndpointQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(name="endpoint_owner", fields=["owner"])]

    def __str__(self) -> str:
        return self.url

    @property
    def secret(self) -> str:
        """`whsec_…`, derived from WEBHOOK_MASTER_KEY: no secret is stored, and a new version is a new secret."""
        text = f"{self.pk}:{self.secret_version}".encode()
        digest = hmac.new(settings.WEBHOOK_MASTER_KEY.encode(), text, hashlib.sha256).digest()
        return f"whsec_{base64.b64encode(digest).decode()}"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def prepare(self, event: Event, channel: str, targets: list[dict[str, Any]]) -> list["Delivery"]:
        """One delivery per target, and only those that did not exist yet."""
        rows = [Delivery(event=event, channel=channel, **target) for target in targets]
        self.bulk_create(rows, ignore_conflicts=True)
        return list(self.filter(pk__in=[row.pk for row in rows]))

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

    id = models.UUIDField(primary_key=True, default=uuid7)  # the webhook-id and the Message-ID, the same on every try
    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="deliveries")
    channel = models.TextField(choices=Channel)
    target = models.TextField()  # an address, or an endpoint's id
    endpoint = models.ForeignKey(Endpoint, on_delete=models.SET_NULL, null=True, related_name="deliveries")
    state = models.TextField(choices=State, default=State.WAITING)
    tries = models.IntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    delivered_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
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

    # --- verbs ------------------------------------------------------------------------------------------

    def succeed(self, answer: str) -> None:
        """It arrived. In the settling transaction of its job."""
        self._note(answer, ok=True)
        Endpoint.objects.filter(deliveries=self, failures__gt=0).update(failures=0, resting_until=None)
        Delivery.objects.filter(pk=self.pk).update(state=self.State.DELIVERED, delivered_at=Now(), tries=F("tries") + 1)

    def stumble(self, answer: str) -> None:
        """This try did not arrive; its endpoint rests."""
        self._note(answer, ok=False)
        Delivery.objects.filter(pk=self.pk).update(tries=F("tries") + 1)
        if self.endpoint:
            Endpoint.objects.stumbled(self.endpoint)
        self.refresh_from_db(fields=["tries"])

    @property
    def is_hopeless(self) -> bool:
        too_old = self.created_at < timezone.now() - settings.DELIVERY_MAX_AGE
        return too_old or self.tries >= settings.DELIVERY_MAX_TRIES

    @property
    def is_unwanted(self) -> bool:
        """Its endpoint was removed."""
        return self.endpoint is not None and not self.endpoint.active

    @property
    def pause_s(self) -> float:
        """Until the next try."""
        return delay_s(self.tries, base_s=settings.DELIVERY_BACKOFF_S, cap_s=settings.DELIVERY_BACKOFF_CAP_S)

    def give_up(self) -> None:
        Delivery.objects.filter(pk=self.pk, state=self.State.WAITING).update(state=self.State.FAILED)

    def _note(self, answer: str, *, ok: bool) -> None:
        self.attempts.create(ok=ok, answer=answer[: settings.DELIVERY_ANSWER_MAX_CHARS])


class Attempt(models.Model):
    """One try of a delivery and what the other side said, for the people who ask why."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    ok = models.BooleanField()
    answer = models.TextField()
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.answer

"""A delivery: one event on its way to one target over one channel. It is one row, however often it
is tried.
"""

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from celery_ledger import delay_s
from notifications.models.deliveries.attempt import Answer, NoMailbox, NotDelivered, Suppressed
from notifications.models.deliveries.queryset import DeliveryQuerySet
from notifications.models.endpoint import Endpoint
from notifications.models.event import TEST, Event


class Delivery(models.Model):
    class Channel(models.TextChoices):
        MAIL = "mail"
        WEBHOOK = "webhook"
        CHAT = "chat"

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    # the webhook-id and the Message-ID, the same on every try
    id = models.UUIDField(primary_key=True, default=uuid7)
    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="deliveries")
    channel = models.TextField(choices=Channel)
    target = models.TextField()  # an address, an endpoint's id, or who reads a chat
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
    # of its event, if its endpoint wants those of a subject in order
    subject = models.UUIDField(null=True)
    seq = models.IntegerField(null=True)
    # given up because nothing is mailed to its address
    suppressed = models.BooleanField(default=False, db_default=False)

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
            models.Index(  # nothing that arrives at once is in it
                name="delivery_in_trouble",
                fields=["id"],
                condition=Q(state="failed") | Q(state="waiting", tries__gt=0),
            ),
            models.Index(
                name="delivery_asked_for", fields=["endpoint", "id"], condition=Q(resend=True)
            ),
            models.Index(
                name="delivery_in_order",
                fields=["endpoint", "subject", "seq"],
                condition=Q(subject__isnull=False) & (Q(state="waiting") | Q(resend=True)),
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

    def succeed(self, answer: Answer, *, after_s: float) -> bool:
        """Write that it arrived, after `after_s`, in the settling transaction of its job. True when
        its endpoint was in trouble until now, and has recovered.
        """
        recovered = self._arrive(answer, after_s=after_s)
        Delivery.objects.bring_next(self)
        return recovered

    def _arrive(self, answer: Answer, *, after_s: float) -> bool:
        arrived, is_quick = Delivery.objects.arrived, after_s <= settings.WEBHOOK_QUICK_S
        if is_quick and arrived(self, answer, after_s=after_s, anyway=False):
            return False
        recovered = self.endpoint_id is not None and Endpoint.objects.answered(
            self.endpoint_id, after_s=after_s
        )
        arrived(self, answer, after_s=after_s, anyway=True)
        return recovered

    def stumble(self, exc: NotDelivered, *, after_s: float) -> bool:
        """Write that this try did not arrive, after `after_s`. True when it is the last: its
        endpoint was disabled for it, or nothing is mailed to its address any more.
        """
        kept = exc.answer.kept(after_s=after_s)
        self.attempts.create(ok=False, **kept)
        Delivery.objects.filter(pk=self.pk).update(tries=F("tries") + 1)
        self.refresh_from_db(fields=["tries"])
        if self.endpoint is None:
            self.suppressed = self._is_suppressed(exc, answer=kept["answer"])
            return self.suppressed
        given_up = Endpoint.objects.stumbled(
            self.endpoint, answer=kept["answer"], after_s=after_s, pause_s=exc.pause_s
        )
        if not (given_up or exc.is_gone):
            return False
        because = Endpoint.Because.GONE if exc.is_gone else Endpoint.Because.FAILING
        return Endpoint.objects.disable(self.endpoint_id, because=because)

    def _is_suppressed(self, exc: NotDelivered, *, answer: str) -> bool:
        """Whether nothing is mailed to its address, maybe only from this answer on."""
        if not isinstance(exc, NoMailbox):
            return isinstance(exc, Suppressed)
        if not Delivery.objects.shows_no_mailbox(self):
            return False
        Delivery.objects.suppress(self, answer)
        return True

    def is_brought_by(self, job: UUID) -> bool:
        """Whether it waits, and this is the job that brings it."""
        return self.state == self.State.WAITING and self.job in (None, job)

    @property
    def is_hopeless(self) -> bool:
        """Whether it was tried as often as may be, or its time is over."""
        most = 1 if self.is_test else settings.DELIVERY_MAX_TRIES
        return self.tries >= most or (self.time_left_s <= 0 and not self._is_owed_a_try)

    @property
    def _is_owed_a_try(self) -> bool:
        """Whether it was never tried though its endpoint is well: others of its subject came first
        all the time.
        """
        is_well = self.endpoint is not None and self.endpoint.ordered and self.endpoint.quick
        return is_well and self.subject is not None and self.tries == 0

    @property
    def time_left_s(self) -> float:
        """Seconds until it is given up; negative when that is over."""
        return (self.begun_at + settings.DELIVERY_MAX_AGE - timezone.now()).total_seconds()

    @property
    def begun_at(self) -> datetime:
        """From when its time is counted: made, or last asked for again."""
        return self.resent_at or self.created_at

    @property
    def is_test(self) -> bool:
        """Whether it is a test, which is tried once and at once: somebody is looking on."""
        return self.event.kind == TEST

    @property
    def is_unwanted(self) -> bool:
        """Whether its endpoint was removed, or is disabled and this is no test of it."""
        return self.endpoint is not None and not (
            self.endpoint.active and (self.is_test or self.endpoint.disabled_at is None)
        )

    @property
    def pause_s(self) -> float:
        """Seconds until the next try, with some chance in them: few, and then ever more."""
        if self.tries == 1:
            soon_s = settings.DELIVERY_SECOND_TRY_S
            return delay_s(1, base_s=soon_s, cap_s=soon_s)
        return delay_s(
            self.tries - 1,
            base_s=settings.DELIVERY_BACKOFF_S,
            cap_s=settings.DELIVERY_BACKOFF_CAP_S,
        )

    def give_up(self) -> None:
        """Write that it will not arrive, unless it has ended already; the next one of its subject
        is due then.
        """
        waiting = Delivery.objects.filter(pk=self.pk, state=self.State.WAITING)
        if waiting.update(state=self.State.FAILED, suppressed=self.suppressed):
            Delivery.objects.bring_next(self)

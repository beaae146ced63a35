"""The events of providers, each of which is written down once."""

import logging

from django.db import models
from django.db.models.functions import Now

from orders.payments.models import PaymentOperation
from orders.payments.provider import EventNotice

log = logging.getLogger(__name__)


class ProviderEventQuerySet(models.QuerySet["ProviderEvent"]):
    def record(self, provider: str, notice: EventNotice) -> "PaymentOperation | None":
        """Note the event, in the caller's transaction. Returns the operation to ask about; None for
        an event that was noted before, or that is about no operation of ours: it is noted too,
        since an account may serve other shops beside this one.
        """
        operation = PaymentOperation.objects.meant_by(provider, notice)
        key = operation.key if operation else notice.key or notice.reference
        identity = {"provider": provider, "event_id": notice.event_id}
        _, is_new = self.get_or_create(**identity, defaults={"key": key})
        if operation is None:
            about = (notice.event_id, notice.kind, provider)
            log.info("Event %s (%s) of %s is about nothing of ours", *about)
        return operation if is_new else None


class ProviderEvent(models.Model):
    """A provider's webhook, heard once, decides nothing: a job asks the provider what is true."""

    provider = models.TextField()
    event_id = models.TextField()
    key = models.TextField()  # of the operation it is about, or else what it says it is about
    heard_at = models.DateTimeField(db_default=Now())

    objects = ProviderEventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="provider_event_once", fields=["provider", "event_id"])
        ]

    def __str__(self) -> str:
        return self.event_id

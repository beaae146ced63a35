"""An event: a fact about an order, never edited."""

from typing import Any
from uuid import UUID

from django.db import models
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from notifications.models.endpoint import Endpoint

TEST = "webhook.test"  # the kind of event that a client asks for, to hear whether it is heard


class EventQuerySet(models.QuerySet["Event"]):
    def timeline(self, subject: UUID) -> "EventQuerySet":
        return self.filter(subject=subject).order_by("seq")

    def rewrite(self, subject: UUID, says: dict[str, dict[str, Any]]) -> None:
        """Facts are never edited, but for what they say of a person who wants to be forgotten."""
        for name, members in says.items():
            said = RawSQL("jsonb_set(data, %s, data -> %s || %s)", ([name], name, Jsonb(members)))
            self.filter(subject=subject, data__has_key=name).update(data=said)

    def test(self, endpoint: Endpoint, *, after: "Event | None") -> "Event":
        """One more test in the life of this locked endpoint."""
        data = {
            "endpoint": {"id": str(endpoint.pk), "url": endpoint.url, "events": endpoint.events}
        }
        seq = after.seq + 1 if after else 1
        return self.create(kind=TEST, subject=endpoint.pk, seq=seq, owner=endpoint.owner, data=data)


class Event(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7)
    kind = models.TextField()  # order.confirmed
    subject = models.UUIDField()  # whose life it belongs to
    seq = models.IntegerField()  # 1, 2, 3 … within the subject
    # whose endpoints hear of it, nobody's if it is the house's own matter; no
    owner = models.UUIDField(null=True)
    # foreign key, since clients live in a higher room
    data = models.JSONField()  # a snapshot: every retry says the same
    at = models.DateTimeField(db_default=Now())

    objects = EventQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(name="event_seq_once", fields=["subject", "seq"])]
        indexes = [models.Index(name="event_at", fields=["at"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.seq}"

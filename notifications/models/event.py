"""An event: a fact about an order, never edited."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection, models
from django.db.models import F
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Now
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from notifications.models.changes import Written, settled_until
from notifications.models.endpoint import Endpoint

EVERYBODYS = ("stock.low",)  # kinds that each client hears of: the stock is one for all
TEST = "webhook.test"  # the kind that a client asks for, to see whether an endpoint is reached

RECORDED = Coalesce("recorded_at", "at")  # releases before wrote only when it happened
FIRST_ID = UUID(int=0)  # before all others
BEGINNING = (datetime.min.replace(tzinfo=UTC), FIRST_ID)
END = (datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))
# the first ones of a kind, as they lie in the index `event_told`
OF_A_KIND = """
(SELECT *, coalesce(recorded_at, at) AS recorded FROM notifications_event
  WHERE {whose} AND kind = %s
    AND (coalesce(recorded_at, at), id) > (%s, %s) AND coalesce(recorded_at, at) < %s
  ORDER BY recorded, id LIMIT %s)
"""
OF_ALL_KINDS = "SELECT * FROM ({}) AS event ORDER BY recorded, id LIMIT %s"
# those of one owner and kind, to be merged as they lie in the index `event_told`
ONES = """
(SELECT id, coalesce(recorded_at, at) AS recorded FROM notifications_event
  WHERE {whose} AND kind = %s
    AND (coalesce(recorded_at, at), id) < (%s, %s) AND coalesce(recorded_at, at) >= %s
  ORDER BY recorded DESC, id DESC LIMIT %s)
"""
NEWEST = "SELECT id, recorded FROM ({}) AS ones ORDER BY recorded DESC, id DESC LIMIT %s"


class EventQuerySet(models.QuerySet["Event"]):
    def feed(
        self, owner: UUID, kinds: Sequence[str], *, beyond: tuple[datetime, UUID], limit: int
    ) -> "list[Event]":
        """Up to `limit` events of these kinds that this owner may hear of, from beyond that place
        on; those first that were recorded first, as far as nobody can record one before them.
        """
        until = settled_until()
        some, values = list[str](), list[Any]()
        for kind in kinds:
            of_owner = [] if kind in EVERYBODYS else [owner]
            some.append(OF_A_KIND.format(whose="owner = %s" if of_owner else "owner IS NULL"))
            values += [*of_owner, kind, *beyond, until, limit]
        text = OF_ALL_KINDS.format(" UNION ALL ".join(some))
        return list(self.raw(text, [*values, limit]))

    def newest_of_nobody(self, kind: str) -> "Event | None":
        """The newest event of this kind that belongs to no client."""
        return self.filter(owner=None, kind=kind).order_by(RECORDED.desc(), "-id").first()

    def newest(
        self,
        owners: Sequence[UUID | None],
        kinds: Sequence[str],
        *,
        before: tuple[datetime, UUID],
        since: datetime,
        limit: int,
    ) -> list[tuple[UUID, datetime]]:
        """Up to `limit` ids of events of these owners and kinds, each with when it was recorded:
        the newest first, of those before that place and recorded since that moment.
        """
        ones, values = list[str](), list[Any]()
        for owner in owners:
            for kind in kinds:
                ones.append(ONES.format(whose="owner = %s" if owner else "owner IS NULL"))
                values += [*([owner] if owner else []), kind, *before, since, limit]
        with connection.cursor() as cursor:
            cursor.execute(NEWEST.format(" UNION ALL ".join(ones)), [*values, limit])
            return [(id_, recorded) for id_, recorded in cursor.fetchall()]

    def timeline(self, subject: UUID) -> "EventQuerySet":
        """What has happened to the subject, in order."""
        return self.filter(subject=subject).order_by("seq")

    def rewrite(
        self, subject: UUID, members: dict[str, dict[str, Any]], nulls: Sequence[list[str]]
    ) -> None:
        """Replace these members in the `data` of each event of the subject, and write null at these
        paths, wherever it has them. Facts are never edited, but for a person who wants to be
        forgotten.
        """
        for path in nulls:
            without = RawSQL("jsonb_set(data, %s, 'null', false)", (path,))
            self.filter(subject=subject).update(data=without)
        for name, new in members.items():
            merged = RawSQL("jsonb_set(data, %s, data -> %s || %s)", ([name], name, Jsonb(new)))
            self.filter(subject=subject, data__has_key=name).update(data=merged)

    def test(self, endpoint: Endpoint, *, after: "Event | None") -> "Event":
        """A new test of this endpoint, which the caller has locked; `after`: the newest before."""
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
    # whose endpoints hear of it, unless it is the shop's own matter, or everybody's; no foreign
    # key, since clients live in a higher room
    owner = models.UUIDField(null=True)
    data = models.JSONField()  # a snapshot: each try sends the same
    at = models.DateTimeField(db_default=Now())  # when it happened, maybe elsewhere and long ago
    # how many mails it has brought about; NULL of releases before
    mails = models.SmallIntegerField(null=True)
    recorded_at = models.DateTimeField(null=True, db_default=Written())

    objects = EventQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(name="event_seq_once", fields=["subject", "seq"])]
        indexes = [
            models.Index(name="event_at", fields=["at"]),
            models.Index(F("owner"), F("kind"), RECORDED, F("id"), name="event_told"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.seq}"

    @property
    def place(self) -> tuple[datetime, UUID]:
        """Where it stands in the order in which events are read: when it was recorded, and its
        id.
        """
        return self.recorded_at or self.at, self.pk

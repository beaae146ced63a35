"""Endpoints: the URLs of clients that hear of their events."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from notifications.models.circuit import CircuitQuerySet
from notifications.signing import SigningKey

REGISTRATION = 0x656E6470  # the advisory locks of owners who register an endpoint: "endp"


class EndpointQuerySet(CircuitQuerySet):
    @transaction.atomic
    def register(self, owner: UUID, **fields: Any) -> "Endpoint | None":
        """A new endpoint of this owner with these fields of it; None when the owner has
        WEBHOOK_ENDPOINTS_PER_CLIENT. Two calls of one owner count one after the other.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [REGISTRATION, str(owner)]
            )
        if self.filter(owner=owner, active=True).count() >= settings.WEBHOOK_ENDPOINTS_PER_CLIENT:
            return None
        return self.create(owner=owner, **fields)

    def locked(self, pk: Any) -> "Endpoint":
        """The endpoint, locked until the transaction ends. Whoever locks its deliveries too locks
        it first.
        """
        return self.select_for_update(no_key=True).get(pk=pk)


class Endpoint(models.Model):
    """A client's URL that hears of its events."""

    class Because(models.TextChoices):
        """Why it is disabled."""

        GONE = "gone"  # it answered 410
        FAILING = "failing"  # nothing else came of its calls for ENDPOINT_PATIENCE
        ASKED = "asked"  # its owner wants it so

    class Payload(models.TextChoices):
        """How much of an event it is sent."""

        FULL = "full"  # all that the event tells
        THIN = "thin"  # which order it is, and where to read it

    id = models.UUIDField(primary_key=True, default=uuid7)
    owner = models.UUIDField()
    url = models.TextField()
    events = ArrayField(models.TextField())
    # of its owner's own, that each call bears: name in lower case and value
    headers = models.JSONField(default=dict, db_default={})
    payload = models.TextField(choices=Payload, default=Payload.FULL, db_default=Payload.FULL)
    # of deliveries about one subject none is tried while an older one waits
    ordered = models.BooleanField(default=False, db_default=False)
    active = models.BooleanField(default=True)
    secret_version = models.IntegerField(default=1)
    # of the versions before, newest first
    secret_ends = ArrayField(models.DateTimeField(), default=list, db_default=[])
    # why it is told nothing, though its owner has not removed it
    disabled_because = models.TextField(choices=Because, blank=True, default="", db_default="")
    disabled_at = models.DateTimeField(null=True)
    # the circuit
    failures = models.IntegerField(default=0)  # in a row
    failing_since = models.DateTimeField(null=True)  # the first of them
    failed_with = models.TextField(blank=True, default="", db_default="")  # the last of them
    # per cent of ENDPOINT_PATIENCE, at which its owner was last told of these failures
    warned = models.SmallIntegerField(default=0, db_default=0)
    # as far as we know it answers quickly: the circuit is closed
    quick = models.BooleanField(default=False, db_default=False)
    busy_until = models.DateTimeField(null=True)  # while it is called that is not quick
    resting_until = models.DateTimeField(null=True)
    # the end of the line of deliveries that wait for it
    line_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    listens_since = models.DateTimeField(db_default=Now())  # to these events

    objects = EndpointQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(name="endpoint_owner", fields=["owner"]),
            models.Index(
                name="endpoint_in_trouble",
                fields=["id"],
                condition=Q(failing_since__isnull=False) | Q(disabled_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.url

    @property
    def is_open(self) -> bool:
        """Whether its circuit is: it rests, or is called once at a time."""
        return self.failures >= settings.ENDPOINT_FAILURES_MAX

    @property
    def secret(self) -> str:
        """`whsec_…`, derived from WEBHOOK_MASTER_KEY: no secret is stored, and a new version is a
        new secret.
        """
        return self.keys[0].secret

    @property
    def keys(self) -> list[SigningKey]:
        """The keys that sign now, the newest first: earlier versions sign beside the newest until
        their time is over.
        """
        return [
            SigningKey(self.pk, self.secret_version - age)
            for age in range(1 + len(self._open_ends()))
        ]

    def rotate(self, *, overlap: timedelta) -> bool:
        """Make a new secret; those before it sign beside it for `overlap` at most. False, and
        nothing changes, when more than WEBHOOK_SECRETS_MAX would sign. The caller holds the lock.
        """
        last = timezone.now() + overlap
        earlier = [min(end, last) for end in self._open_ends()]
        ends = [last, *earlier] if overlap else []
        if len(ends) >= settings.WEBHOOK_SECRETS_MAX:
            return False
        self.secret_version += 1
        self.secret_ends = ends
        self.save(update_fields=["secret_version", "secret_ends"])
        return True

    def _open_ends(self) -> list[datetime]:
        """When each earlier secret that still signs ends, the newest first: none ends before an
        older one.
        """
        return [end for end in self.secret_ends if end > timezone.now()]

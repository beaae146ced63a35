"""Endpoints: the URLs of clients that hear of their events, and how one in trouble is left alone.

One that has failed rests, and its deliveries stand in line: one place for each rest, so that whoever comes first
probes it and nobody else costs anything. An answer forgives it, and the line is called up (docs/adr/0017).
"""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from jobs.backoff import delay_s

if TYPE_CHECKING:
    from notifications.models import Event

# The next free place in line, in seconds from now; the one after it comes a rest later.
TAKE_PLACE = """
UPDATE notifications_endpoint SET line_until = greatest(line_until, resting_until, now()) + %(rest)s
 WHERE id = %(id)s AND failures > 0
RETURNING extract(epoch FROM line_until - %(rest)s - now())
"""
SOON_S = 0.5


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    def take_turn(self, endpoint: "Endpoint") -> float:
        """0.0 when it may be called now, else in how many seconds to come again.

        A healthy endpoint takes any number of calls at once, one that has just failed a single call after its rest:
        else a server that hangs would hold every worker, and everybody's orders with them.
        """
        if not endpoint.failures:
            return 0.0
        probe_ends = Now() + timedelta(seconds=2 * settings.WEBHOOK_TIMEOUT_S)
        if self.filter(pk=endpoint.pk, resting_until__lte=Now()).update(resting_until=probe_ends):
            return 0.0
        return max(self.take_place(endpoint), SOON_S)

    def take_place(self, endpoint: "Endpoint") -> float:
        """Stand in line for an endpoint in trouble: in how many seconds the place comes; 0.0 when it is well."""
        if not endpoint.failures:
            return 0.0
        values: dict[str, Any] = {"id": endpoint.pk, "rest": timedelta(seconds=_rest_s(endpoint.failures))}
        with connection.cursor() as cursor:
            cursor.execute(TAKE_PLACE, values)
            place = cursor.fetchone()
        return float(place[0]) if place else 0.0

    def stumbled(self, endpoint: "Endpoint") -> None:
        """It rests, twice as long after each failure."""
        rest_s = _rest_s(endpoint.failures + 1)
        self.filter(pk=endpoint.pk).update(failures=F("failures") + 1, resting_until=Now() + timedelta(seconds=rest_s))

    def locked(self, pk: Any) -> "Endpoint":
        """The endpoint, locked until the transaction ends: before its deliveries, always."""
        return self.select_for_update(no_key=True).get(pk=pk)

    def forgive(self, pk: Any) -> bool:
        """It has answered. True when it was in trouble: whoever stands in line may come now."""
        return bool(self.filter(pk=pk, failures__gt=0).update(failures=0, resting_until=None, line_until=None))

    def listening_to(self, event: "Event") -> "EndpointQuerySet":
        if event.owner is None:
            return self.none()
        mine = self.filter(owner=event.owner, active=True)
        return mine.filter(Q(events__contains=[event.kind]) | Q(events__contains=["*"])).order_by("pk")


class Endpoint(models.Model):
    """A client's URL that hears of its events."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    owner = models.UUIDField()
    url = models.TextField()
    events = ArrayField(models.TextField())
    active = models.BooleanField(default=True)
    secret_version = models.IntegerField(default=1)
    secret_ends = ArrayField(
        models.DateTimeField(), default=list, db_default=[]
    )  # of the versions before, newest first
    failures = models.IntegerField(default=0)  # in a row
    resting_until = models.DateTimeField(null=True)
    line_until = models.DateTimeField(null=True)  # the end of the line of deliveries that wait for it
    created_at = models.DateTimeField(db_default=Now())
    listens_since = models.DateTimeField(db_default=Now())  # to these events

    objects = EndpointQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(name="endpoint_owner", fields=["owner"])]

    def __str__(self) -> str:
        return self.url

    @property
    def secret(self) -> str:
        """`whsec_…`, derived from WEBHOOK_MASTER_KEY: no secret is stored, and a new version is a new secret."""
        return self._secret_of(self.secret_version)

    @property
    def secrets(self) -> list[str]:
        """Those that sign now, the newest first: earlier ones sign beside it until their time is over."""
        return [self._secret_of(self.secret_version - at) for at in range(1 + len(self._open_ends()))]

    def rotate(self, *, overlap: timedelta) -> bool:
        """A new secret; those before it sign beside it for so long at most. False when there are too many of them.

        The caller holds the lock.
        """
        last = timezone.now() + overlap
        ends = [last, *(min(end, last) for end in self._open_ends())] if overlap else []
        if len(ends) >= settings.WEBHOOK_SECRETS_MAX:
            return False
        self.secret_version += 1
        self.secret_ends = ends
        self.save(update_fields=["secret_version", "secret_ends"])
        return True

    def _open_ends(self) -> list[datetime]:
        """No secret ends before an earlier one."""
        return [end for end in self.secret_ends if end > timezone.now()]

    def _secret_of(self, version: int) -> str:
        text = f"{self.pk}:{version}".encode()
        digest = hmac.new(settings.WEBHOOK_MASTER_KEY.encode(), text, hashlib.sha256).digest()
        return f"whsec_{base64.b64encode(digest).decode()}"


def _rest_s(failures: int) -> float:
    return delay_s(failures, base_s=settings.ENDPOINT_REST_S, cap_s=settings.ENDPOINT_REST_CAP_S)

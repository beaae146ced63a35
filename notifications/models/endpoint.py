"""Endpoints: the URLs of clients that hear of their events, and how one in trouble is left alone.

One that has failed rests, and its deliveries stand in line: one place for each rest, so that
whoever comes first probes it and nobody else costs anything. A quick answer forgives it, and the
line is called up (docs/adr/0017). As long as none was quick it is called once at a time
(docs/adr/0023).
"""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from celery_ledger import delay_s

# The next free place in line, in seconds from now; the one after it comes a rest later.
TAKE_PLACE = """
UPDATE notifications_endpoint SET line_until = greatest(line_until, resting_until, now()) + %(rest)s
 WHERE id = %(id)s AND (failures > 0 OR NOT quick)
RETURNING extract(epoch FROM line_until - %(rest)s - now())
"""
# One call at a time, of few at a time of all endpoints of its owner; one in trouble also waits for
# the end of its rest.
TAKE_TURN = """
WITH own AS (
    SELECT id, busy_until FROM notifications_endpoint
     WHERE owner = %(owner)s AND active ORDER BY id FOR NO KEY UPDATE
)
UPDATE notifications_endpoint AS endpoint
   SET busy_until = clock_timestamp() + %(call)s,
       resting_until = CASE WHEN failures > 0 THEN clock_timestamp() + %(call)s END
 WHERE id = %(id)s AND coalesce(busy_until < clock_timestamp(), true)
   AND (%(at_once)s OR failures = 0 OR resting_until <= clock_timestamp())
   AND (SELECT count(*) FROM own WHERE busy_until >= clock_timestamp()) < %(of_owner)s
"""
SOON_S = 0.5
REGISTRATION = 0x656E6470  # the advisory locks of owners who register an endpoint: "endp"


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    def take_turn(self, endpoint: "Endpoint", *, at_once: bool = False) -> float:
        """0.0 when it may be called now, else in how many seconds to come again; `at_once`: also
        while it rests.

        One that answers quickly takes any number of calls at once. Any other takes one, and its
        owner's together take few: else servers that hang would hold every worker, and everybody's
        orders with them.
        """
        if endpoint.quick and not endpoint.failures:
            return 0.0
        values: dict[str, Any] = {
            "id": endpoint.pk,
            "owner": endpoint.owner,
            # then whoever took it has died
            "call": timedelta(seconds=2 * settings.WEBHOOK_TIMEOUT_S),
            "of_owner": settings.WEBHOOK_SLOW_CALLS_PER_CLIENT,
            "at_once": at_once,
        }
        with connection.cursor() as cursor:
            cursor.execute(TAKE_TURN, values)
            if cursor.rowcount:
                return 0.0
        return SOON_S if at_once else max(self.take_place(endpoint), SOON_S)

    def take_place(self, endpoint: "Endpoint") -> float:
        """Stand in line: in how many seconds the place comes; 0.0 when there is no line left."""
        rest_s = _rest_s(endpoint.failures) if endpoint.failures else SOON_S
        values: dict[str, Any] = {"id": endpoint.pk, "rest": timedelta(seconds=rest_s)}
        with connection.cursor() as cursor:
            cursor.execute(TAKE_PLACE, values)
            place = cursor.fetchone()
        return float(place[0]) if place else 0.0

    def stumbled(self, endpoint: "Endpoint") -> None:
        """It rests, twice as long after each failure."""
        rest = timedelta(seconds=_rest_s(endpoint.failures + 1))
        self.filter(pk=endpoint.pk).update(
            failures=F("failures") + 1, quick=False, busy_until=None, resting_until=Now() + rest
        )

    def answered(self, pk: Any, *, after_s: float) -> bool:
        """It has taken a delivery. True when it was in trouble until now: whoever stands in line
        may come.

        An answer that took longer than WEBHOOK_QUICK_S is trouble too, the least of it: it rests,
        and no longer each time.
        """
        if after_s <= settings.WEBHOOK_QUICK_S:
            well = {
                "failures": 0,
                "quick": True,
                "busy_until": None,
                "resting_until": None,
                "line_until": None,
            }
            return bool(self.filter(Q(failures__gt=0) | Q(quick=False), pk=pk).update(**well))
        rest = timedelta(seconds=_rest_s(1))
        self.filter(pk=pk).update(
            failures=1, quick=False, busy_until=None, resting_until=Now() + rest
        )
        return False

    def forgive(self, pk: Any) -> bool:
        """It is another server now. True when the one before was in trouble."""
        anew = {
            "failures": 0,
            "quick": False,
            "busy_until": None,
            "resting_until": None,
            "line_until": None,
        }
        return bool(self.filter(pk=pk, failures__gt=0).update(**anew))

    @transaction.atomic
    def register(self, owner: UUID, *, url: str, events: list[str]) -> "Endpoint | None":
        """A new endpoint; None when its owner has WEBHOOK_ENDPOINTS_PER_CLIENT. Owners count one
        after another.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [REGISTRATION, str(owner)]
            )
        if self.filter(owner=owner, active=True).count() >= settings.WEBHOOK_ENDPOINTS_PER_CLIENT:
            return None
        return self.create(owner=owner, url=url, events=events)

    def locked(self, pk: Any) -> "Endpoint":
        """The endpoint, locked until the transaction ends: before its deliveries, always."""
        return self.select_for_update(no_key=True).get(pk=pk)


class Endpoint(models.Model):
    """A client's URL that hears of its events."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    owner = models.UUIDField()
    url = models.TextField()
    events = ArrayField(models.TextField())
    active = models.BooleanField(default=True)
    secret_version = models.IntegerField(default=1)
    # of the versions before, newest first
    secret_ends = ArrayField(models.DateTimeField(), default=list, db_default=[])
    failures = models.IntegerField(default=0)  # in a row
    # its last answer was, and it had one
    quick = models.BooleanField(default=False, db_default=False)
    busy_until = models.DateTimeField(null=True)  # while it is called that is not quick
    resting_until = models.DateTimeField(null=True)
    # the end of the line of deliveries that wait for it
    line_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    listens_since = models.DateTimeField(db_default=Now())  # to these events

    objects = EndpointQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(name="endpoint_owner", fields=["owner"])]

    def __str__(self) -> str:
        return self.url

    @property
    def secret(self) -> str:
        """`whsec_…`, derived from WEBHOOK_MASTER_KEY: no secret is stored, and a new version is a
        new secret.
        """
        return self._secret_of(self.secret_version)

    @property
    def secrets(self) -> list[str]:
        """Those that sign now, the newest first: earlier ones sign beside it until their time is
        over.
        """
        return [
            self._secret_of(self.secret_version - age) for age in range(1 + len(self._open_ends()))
        ]

    def rotate(self, *, overlap: timedelta) -> bool:
        """A new secret; those before it sign beside it for so long at most. False when there are
        too many of them.

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

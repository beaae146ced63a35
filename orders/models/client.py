"""Who calls the API: clients, their keys, and the keys under which they repeat a request."""

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import DatabaseError, OperationalError, connection, models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from values import identity
from values.refused import Refused, Sentence, invalid

if TYPE_CHECKING:
    from orders.models.placed.order import Order

SCOPES = (
    "orders:read",
    "orders:write",
    "fulfil:write",
    "refunds:write",
    "stock:read",
    "stock:write",
    "imports:write",
    "reports:read",
    "webhooks:read",
    "webhooks:write",
    "jobs:read",
    "jobs:write",
    "customers:write",
    "shop:read",
    "shop:write",
)
CLIENT_NAME_MAX_CHARS = 200
LOCK_NOT_AVAILABLE = "55P03"
# Whoever is first inserts. Whoever comes meanwhile waits for how that ends, and no longer than
# `wait`; for what is locked from here on the limit is again what it was.
TAKE_KEY = """
WITH own AS MATERIALIZED (
    SELECT current_setting('lock_timeout') AS lock_timeout
), limited AS MATERIALIZED (
    SELECT lock_timeout, set_config('lock_timeout', %(wait)s, true) FROM own
), taken AS (
    INSERT INTO orders_idempotencykey (client_id, key, fingerprint)
    SELECT %(client)s, %(key)s, %(fingerprint)s FROM limited
        ON CONFLICT DO NOTHING RETURNING id
)
SELECT taken.id, set_config('lock_timeout', lock_timeout, true)
  FROM limited LEFT JOIN taken ON true
"""


class ClientQuerySet(models.QuerySet["Client"]):
    def locked(self, pk: Any) -> "Client":
        """The client, locked until the transaction ends: whoever counts what it has is alone with
        it.
        """
        return self.select_for_update(no_key=True).get(pk=pk)

    def know(self, name: str) -> "tuple[Client, bool]":
        """The client of this name, and whether it is new. One from before a name had to be plain is
        found too; raises a 422 problem for a new name that cannot be.
        """
        if client := self.filter(name=name).first():
            return client, False
        if not 0 < len(name) <= CLIENT_NAME_MAX_CHARS:
            most = Sentence("must have 1 to %(most)s letters", most=CLIENT_NAME_MAX_CHARS)
            raise invalid(("/name", most))
        if said := identity.objection(name):
            raise invalid(("/name", said))
        return self.get_or_create(name=name)


class Client(models.Model):
    """A system that places orders; it sees its own orders only."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    name = models.TextField(unique=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = ClientQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def issue(self, client: Client, scopes: list[str]) -> str:
        """Make a key and return it; only its digest is kept. No scopes means every scope."""
        key = f"kaiten_{secrets.token_urlsafe(32)}"
        self.create(
            client=client, prefix=key[:12], digest=digest_of(key), scopes=scopes or list(SCOPES)
        )
        return key

    def rotate(self, pk: int) -> str | None:
        """Make a key of the same client and scopes beside it, which works on until it is revoked;
        None when it is.
        """
        old = self.select_related("client").filter(pk=pk, revoked_at=None).first()
        return self.issue(old.client, old.scopes) if old else None

    def revoke(self, pk: int) -> bool:
        """It opens nothing from the commit on. False when it was revoked before."""
        return bool(self.filter(pk=pk, revoked_at=None).update(revoked_at=Now()))

    def find(self, key: str) -> "ApiKey | None":
        return self.select_related("client").filter(digest=digest_of(key), revoked_at=None).first()


class ApiKey(models.Model):
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="keys")
    prefix = models.TextField()  # for people to tell keys apart
    digest = models.BinaryField(unique=True, max_length=32)
    scopes = ArrayField(models.TextField(choices=[(scope, scope) for scope in SCOPES]))
    created_at = models.DateTimeField(db_default=Now())
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)  # or up to KEY_USED_EVERY later

    objects = ApiKeyQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.prefix}… of {self.client}"

    def note_use(self) -> None:
        """Once in KEY_USED_EVERY, outside a transaction. A Postgres that may not write just now
        keeps nobody from reading.
        """
        until = timezone.now() - settings.KEY_USED_EVERY
        if self.last_used_at and self.last_used_at > until:
            return
        stale = ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=until), pk=self.pk)
        with contextlib.suppress(DatabaseError):
            stale.update(last_used_at=Now())

    def require(self, scope: str) -> None:
        """Raise a 403 problem when this key may not do that."""
        if scope not in self.scopes:
            raise Refused("missing-scope", f"This key lacks the scope {scope}.")


def digest_of(key: str) -> bytes:
    """A key is 256 random bits, so a plain hash is enough and look-ups stay an index search."""
    return hashlib.sha256(key.encode()).digest()


class IdempotencyKeyQuerySet(models.QuerySet["IdempotencyKey"]):
    def begin(self, client: Client, key: str, request: Any) -> "IdempotencyKey":
        """Insert the key into the caller's transaction, or return the answered one that stands
        there.

        While another request with this key is under way, wait for it; when it takes longer than
        IDEMPOTENCY_WAIT_MS, raise a 409 problem. Raises a 422 problem when the key was used for
        another request.
        """
        mine = IdempotencyKey(client=client, key=key, fingerprint=fingerprint_of(request))
        values: dict[str, Any] = {
            "client": client.pk,
            "key": key,
            "fingerprint": mine.fingerprint,
            "wait": f"{settings.IDEMPOTENCY_WAIT_MS}ms",
        }
        try:
            with connection.cursor() as cursor:
                cursor.execute(TAKE_KEY, values)
                mine.pk, _ = cursor.fetchone()
        except OperationalError as exc:
            if getattr(exc.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            raise Refused(
                "request-in-progress",
                "A request with this Idempotency-Key is still running.",
                retry_after_s=1,
            ) from exc
        if mine.pk:
            return mine
        kept = self.get(client=client, key=key)
        if bytes(kept.fingerprint) != mine.fingerprint:
            raise Refused(
                "idempotency-key-reused", "This Idempotency-Key was used for a different request."
            )
        return kept

    def decide(self, client: Client, key: str, *, status: int, body: str) -> "IdempotencyKey":
        """Let a final answer take the place of the 202 under this key. Returns the one that stands:
        the first.
        """
        self.filter(client=client, key=key, status=202).update(status=status, body=body)
        return self.get(client=client, key=key)

    def answer_anew(self, order: "Order", body: str, *, times: Iterable[datetime]) -> None:
        """Let this be the final answer to whoever was shown the order: when it was placed, or
        something happened to it at these times, of which each key is a little older.
        """
        for at in {order.created_at, *times}:
            keys = self.filter(created_at__range=(at - settings.CHANGES_SETTLE, at))
            shown = keys.filter(client=order.client_id, body__startswith=f'{{"id":"{order.pk}"')
            shown.update(status=200, body=body)

    def forget_old(self, limit: int) -> int:
        """Delete up to `limit` keys that nobody will repeat any more."""
        old = self.filter(created_at__lt=Now() - settings.IDEMPOTENCY_KEEP).order_by("created_at")[
            :limit
        ]
        return self.filter(pk__in=list(old.values_list("pk", flat=True))).delete()[0]


class IdempotencyKey(models.Model):
    """The answer to a request that may be repeated. It commits with what the request did."""

    client = models.ForeignKey(Client, on_delete=models.CASCADE)
    key = models.TextField()
    fingerprint = models.BinaryField(max_length=32)
    status = models.SmallIntegerField(null=True)
    location = models.TextField(null=True)
    body = models.TextField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = IdempotencyKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="idempotency_key_once", fields=["client", "key"])
        ]
        indexes = [models.Index(name="idempotency_key_age", fields=["created_at"])]

    def __str__(self) -> str:
        return self.key

    @property
    def answered(self) -> bool:
        return self.status is not None

    def answer(self, *, status: int, location: str | None, body: str) -> None:
        self.status, self.location, self.body = status, location, body
        self.save(update_fields=["status", "location", "body"])


def fingerprint_of(request: Any) -> bytes:
    """The same for two requests that say the same, however they are written."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).digest()

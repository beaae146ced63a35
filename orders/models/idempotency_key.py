"""The keys under which a client repeats a request, each with the answer to the first one."""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import OperationalError, connection, models
from django.db.models.functions import Now

from orders.models.client import Client
from values.refused import Refused

if TYPE_CHECKING:
    from orders.models.placed.order import Order

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


class IdempotencyKeyQuerySet(models.QuerySet["IdempotencyKey"]):
    def begin(self, client: Client, key: str, request: Any) -> "IdempotencyKey":
        """Insert the key into the caller's transaction, or return the answered one that stands
        there.

        While another request with this key is under way, wait for it. Refuses with
        `request-in-progress` when that takes longer than IDEMPOTENCY_WAIT_MS, and with
        `idempotency-key-reused` when the key was used for another request.
        """
        mine = IdempotencyKey(client=client, key=key, fingerprint=fingerprint_of(request))
        try:
            mine.pk = self._inserted(mine)
        except OperationalError as exc:
            if getattr(exc.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            detail = "A request with this Idempotency-Key is still running."
            raise Refused("request-in-progress", detail, retry_after_s=1) from exc
        if mine.pk:
            return mine
        kept = self.get(client=client, key=key)
        if bytes(kept.fingerprint) != mine.fingerprint:
            raise Refused(
                "idempotency-key-reused", "This Idempotency-Key was used for a different request."
            )
        return kept

    def _inserted(self, mine: "IdempotencyKey") -> int | None:
        """The id of the row that was inserted; None where the key is there already."""
        values: dict[str, Any] = {
            "client": mine.client_id,
            "key": mine.key,
            "fingerprint": mine.fingerprint,
            "wait": f"{settings.IDEMPOTENCY_WAIT_MS}ms",
        }
        with connection.cursor() as cursor:
            cursor.execute(TAKE_KEY, values)
            pk: int | None
            pk, _ = cursor.fetchone()
        return pk

    def decide(self, client: Client, key: str, *, status: int, body: str) -> "IdempotencyKey":
        """Let a final answer take the place of the first one under this key, which was 202. Returns
        the key with the final answer that stands: the first of them.
        """
        self.filter(client=client, key=key, status=202).update(status=status, body=body)
        return self.get(client=client, key=key)

    def answer_anew(self, order: "Order", body: str, *, times: Iterable[datetime]) -> None:
        """Put this body into every kept answer that shows the order. `times`: when anything has
        happened to it, for a key is a little older than what its request did.
        """
        for moment in {order.created_at, *times}:
            keys = self.filter(created_at__range=(moment - settings.CHANGES_SETTLE, moment))
            showing = keys.filter(client=order.client_id, body__startswith=f'{{"id":"{order.pk}"')
            showing.update(status=200, body=body)

    def forget_old(self, limit: int) -> int:
        """Delete up to `limit` keys that nobody will repeat any more."""
        old = self.filter(created_at__lt=Now() - settings.IDEMPOTENCY_KEEP).order_by("created_at")
        ids = list(old.values_list("pk", flat=True)[:limit])
        return self.filter(pk__in=ids).delete()[0]


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
        self.status = status
        self.location = location
        self.body = body
        self.save(update_fields=["status", "location", "body"])


def fingerprint_of(request: Any) -> bytes:
    """A digest of a request's JSON: equal for equal documents, however they are written."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).digest()

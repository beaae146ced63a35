"""Who calls the API: clients, and the keys by which they are known."""

import contextlib
import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import DatabaseError, models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from values import identity
from values.refused import Refused, Sentence, invalid

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


class ClientQuerySet(models.QuerySet["Client"]):
    def locked(self, pk: Any) -> "Client":
        """The client, locked until the transaction ends: whoever counts what it has is alone with
        it.
        """
        return self.select_for_update(no_key=True).get(pk=pk)

    def know(self, name: str) -> "tuple[Client, bool]":
        """The client of this name, and whether it is new. One from before a name had to be plain is
        found too; a new name that cannot be is refused with `invalid`.
        """
        if client := self.filter(name=name).first():
            return client, False
        if not 0 < len(name) <= CLIENT_NAME_MAX_CHARS:
            most = Sentence("must have 1 to %(most)s letters", most=CLIENT_NAME_MAX_CHARS)
            raise invalid(("/name", most))
        if objection := identity.objection(name):
            raise invalid(("/name", objection))
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
        """Make a key of the same client and scopes, and return it; the old one works on until it is
        revoked. None when it is already.
        """
        old = self.select_related("client").filter(pk=pk, revoked_at=None).first()
        return self.issue(old.client, old.scopes) if old else None

    def revoke(self, pk: int) -> bool:
        """The key opens nothing from the commit on. False when it was revoked before."""
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
        """Write down that the key is used, once in KEY_USED_EVERY, outside a transaction. A
        Postgres that may not write just now keeps nobody from reading.
        """
        until = timezone.now() - settings.KEY_USED_EVERY
        if self.last_used_at and self.last_used_at > until:
            return
        stale = ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=until), pk=self.pk)
        with contextlib.suppress(DatabaseError):
            stale.update(last_used_at=Now())

    def require(self, scope: str) -> None:
        """Refuses with `missing-scope` when this key may not do that."""
        if scope not in self.scopes:
            raise Refused("missing-scope", f"This key lacks the scope {scope}.")


def digest_of(key: str) -> bytes:
    """The digest that is kept of a key. A key is 256 random bits, so a plain hash is enough, and a
    look-up is an index search.
    """
    return hashlib.sha256(key.encode()).digest()

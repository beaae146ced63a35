"""The list of addresses that nothing is mailed to: no mailbox is there, whoever reads it has
complained, or staff say so.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from values.addresses import mailbox

SALT = "notifications.models.suppression"


class SuppressionQuerySet(models.QuerySet["Suppression"]):
    def of(self, address: str) -> "Suppression | None":
        """The row that keeps this address from being mailed; None without one, and for what is no
        address.
        """
        plain = _if_mailable(address)
        return self.filter(address__in=[plain, _keyed(plain)]).first() if plain else None

    def add(
        self, address: str, *, why: str, details: str = "", who: str = "", is_erased: bool = False
    ) -> bool:
        """Put an address on the list, for a reason of Why, with `details` in the words of the mail
        server or the staff: nothing is mailed there from now on. True when it is new there. A
        complaint replaces any other reason. `is_erased`: only a hash of it is kept. Raises
        ValueError for what is no address.
        """
        plain = mailbox(address)
        new: dict[str, Any] = {"why": why, "who": who}
        new["said"] = details[: settings.DELIVERY_ANSWER_MAX_CHARS]
        if (listed := self.of(plain)) is None:
            if is_erased:
                new |= {"said": "", "erased_at": Now()}
            name = _keyed(plain) if is_erased else plain
            return self.get_or_create(address=name, defaults=new)[1]
        if why == self.model.Why.COMPLAINED:
            new["said"] = "" if listed.erased_at else new["said"]
            self.filter(pk=listed.pk).exclude(why=why).update(**new, since=Now())
        return False

    def take_off(self, pk: int) -> "Suppression | None":
        """Delete a row and return it: its address is mailed again. None when it is not there."""
        listed = self.select_for_update().filter(pk=pk).first()
        if listed:
            self.filter(pk=pk).delete()
        return listed

    @transaction.atomic
    def forget(self, addresses: Iterable[str]) -> None:
        """Replace these addresses, if they are on the list, by hashes that nobody can make without
        SECRET_KEY: nothing is mailed there as before, and nobody can read them.
        """
        plain = [name for name in map(_if_mailable, addresses) if name]
        listed = list(self.filter(address__in=plain).select_for_update().order_by("pk"))
        hashed = [
            self.model(
                address=_keyed(one.address),
                why=one.why,
                since=one.since,
                who=one.who,
                erased_at=Now(),
            )
            for one in listed
        ]
        self.bulk_create(hashed, ignore_conflicts=True)
        self.filter(pk__in=[one.pk for one in listed]).delete()

    def forget_old(self, limit: int) -> int:
        """Delete up to `limit` of which the person was erased SUPPRESSION_ERASED_KEEP ago."""
        old = self.filter(erased_at__lt=Now() - settings.SUPPRESSION_ERASED_KEEP).order_by("pk")
        ids = list(old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        self.filter(pk__in=ids).delete()
        return len(ids)

    def newest(self, *, before: int | None = None) -> "SuppressionQuerySet":
        return (self.filter(pk__lt=before) if before else self).order_by("-pk")

    def came(self, after: datetime, until: datetime) -> "SuppressionQuerySet":
        """Those that came after the first moment and until the second, without those of the staff;
        the newest first.
        """
        of_itself = self.exclude(why=self.model.Why.STAFF)
        return of_itself.filter(since__gt=after, since__lte=until).order_by("-since", "-pk")


class Suppression(models.Model):
    """One address, as `values.addresses.mailbox` writes it, or a hash of it if its person was
    erased.
    """

    class Why(models.TextChoices):
        BOUNCED = "bounced"
        COMPLAINED = "complained"
        STAFF = "staff"

    address = models.TextField(unique=True)
    why = models.TextField(choices=Why)
    since = models.DateTimeField(db_default=Now())
    said = models.TextField(default="", db_default="")  # by the mail server, or by the staff
    who = models.TextField(default="", db_default="")  # of the staff: a login name
    erased_at = models.DateTimeField(null=True)

    objects = SuppressionQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(name="suppression_since", fields=["since"]),
            models.Index(
                name="suppression_erased",
                fields=["erased_at"],
                condition=Q(erased_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        """Why and since when; no address."""
        details = f": {self.said}" if self.said else ""
        return f"{self.why} since {self.since:%Y-%m-%d %H:%M} UTC{details}"


def _keyed(plain: str) -> str:
    """The hash that stands for an address: it holds no @, so it is none itself."""
    return f"hmac-sha256:{salted_hmac(SALT, plain, algorithm='sha256').hexdigest()}"


def _if_mailable(address: str) -> str | None:
    try:
        return mailbox(address)
    except ValueError:
        return None

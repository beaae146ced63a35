"""A client's shop: what it is called where its customers read, and how it does business.

It stands in this room, the lowest that reads it, since mails are written here.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q

from values.shop import RESERVATION_MAX_MINUTES, WITHDRAWAL_MAX_DAYS


class ShopQuerySet(models.QuerySet["Shop"]):
    def of(self, owner: UUID | None) -> "Shop":
        """This client's shop, with the installation's value of each field that it leaves empty
        (named in `lent`). Only to read: it is never saved.
        """
        own = self.filter(pk=owner).first() if owner else None
        shop = own or Shop()
        shop.lent = [name for name in settings.SHOP if getattr(shop, name) in (None, "")]
        for name in shop.lent:
            setattr(shop, name, settings.SHOP[name])
        return shop

    def locked(self, owner: UUID) -> "Shop":
        """The client's own row, made if need be, to change: locked until the transaction ends."""
        self.bulk_create([self.model(owner=owner)], ignore_conflicts=True)
        return self.select_for_update(no_key=True).get(pk=owner)

    @transaction.atomic
    def change(self, owner: UUID, fields: dict[str, Any]) -> None:
        """Set these fields of this client's shop; None: as the installation has it."""
        self.locked(owner).change(fields)


class Shop(models.Model):
    """A client's shop. An empty field is as the installation has it (settings.SHOP)."""

    owner = models.UUIDField(primary_key=True)  # the client
    name = models.TextField(blank=True, default="")
    logo_url = models.TextField(blank=True, default="")
    contact = models.TextField(blank=True, default="")
    reply_to = models.TextField(blank=True, default="", db_default="")
    imprint = models.TextField(blank=True, default="")
    time_zone = models.TextField(blank=True, default="")
    language = models.TextField(blank=True, default="")
    reservation_minutes = models.IntegerField(null=True)
    withdrawal_days = models.IntegerField(null=True)

    lent: list[str] = []  # the names of what `of` has taken from the installation

    objects = ShopQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="shop_limits",
                condition=~Q(reservation_minutes__lt=1)
                & ~Q(reservation_minutes__gt=RESERVATION_MAX_MINUTES)
                & ~Q(withdrawal_days__lt=0)
                & ~Q(withdrawal_days__gt=WITHDRAWAL_MAX_DAYS),
            )
        ]

    def __str__(self) -> str:
        return self.name or str(self.owner)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def reservation(self) -> timedelta:
        """How long goods are set aside for whoever has not paid."""
        return timedelta(minutes=self.reservation_minutes or 0)

    @property
    def signature(self) -> str:
        """What stands under its mails."""
        return "\n".join(part for part in (self.name, self.contact, self.imprint) if part)

    def change(self, fields: dict[str, Any]) -> None:
        """Set these fields; None: as the installation has it. The caller holds the lock."""
        for name, value in fields.items():
            field = self._meta.get_field(name)
            empty = None if field.null else ""
            setattr(self, name, empty if value is None else value)
        self.save(update_fields=list(fields))

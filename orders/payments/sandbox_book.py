"""The sandbox provider's book: the tables of the other side of the world. Only `sandbox` reads and
writes them.
"""

from dataclasses import replace

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from orders.payments.provider import Charge, ChargeStatus

WAITING = "requires_action"


class Movement(models.Model):
    """An entry in the provider's book."""

    id = models.TextField(primary_key=True)
    key = models.TextField(unique=True)  # the idempotency key
    amount = models.BigIntegerField()
    currency = models.TextField()
    status = models.TextField()
    reason = models.TextField(default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.id

    @property
    def standing(self) -> ChargeStatus:
        return ChargeStatus(self.status)

    def as_charge(self) -> Charge:
        return Charge(self.id, self.key, self.amount, self.currency, self.standing, self.reason)


class SandboxCharge(Movement):
    metadata = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(name="sandbox_charge_at", fields=["created_at"])]

    @property
    def waits(self) -> bool:
        """Whether its customer has still to decide, on the bank's page."""
        return self.status == WAITING

    @property
    def standing(self) -> ChargeStatus:
        return ChargeStatus.PENDING if self.waits else super().standing

    def as_charge(self) -> Charge:
        made = super().as_charge()
        if not self.waits:
            return made
        page = f"{settings.SITE_URL}/bank/{self.id}/"
        action = {"type": "redirect_to_url", "url": page, "client_secret": None}
        return replace(made, action_required=True, action=action)


class SandboxRefund(Movement):
    """Money that went back."""

    charge = models.ForeignKey(SandboxCharge, on_delete=models.PROTECT, related_name="refunds")


class SandboxFailure(models.Model):
    """How often the flaky token has failed for a key."""

    key = models.TextField(primary_key=True)
    count = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.key

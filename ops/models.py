"""What staff did by the staff pages: who, when, to which order, and how it stood before and
after.
"""

from typing import Any

from django.db import models
from django.db.models.functions import Now


class StaffAction(models.Model):
    """Written in the transaction of what was done, so it is there exactly if that is."""

    at = models.DateTimeField(db_default=Now())
    user = models.BigIntegerField()  # no foreign key: who has left the shop has still done it
    who = models.TextField()  # their login name then
    verb = models.TextField()  # of ops.verbs
    subject = models.UUIDField()  # the order
    said = models.JSONField(default=dict)  # what the form said
    before = models.JSONField()  # {"state": …, "captured": …}: ops.verbs.standing
    after = models.JSONField()

    class Meta:
        default_permissions = ("view",)
        permissions = [
            ("look", "May look at the staff pages"),
            ("operate", "May act on orders and jobs there"),
        ]
        indexes = [models.Index(name="staff_action_of", fields=["subject", "at"])]

    def __str__(self) -> str:
        return f"{self.who}: {self.verb}"

    @classmethod
    def of(cls, subject: Any) -> "models.QuerySet[StaffAction]":
        return cls._default_manager.filter(subject=subject).order_by("at", "pk")

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
    verb = models.TextField()  # a slug: of an order that of ops.orders.verbs
    subject = models.TextField()  # an order's id; anything else by its kind: "queue payments"
    said = models.JSONField(default=dict)  # what the form said
    before = models.JSONField(default=dict)  # of an order ops.orders.acting.standing
    after = models.JSONField(default=dict)

    class Meta:
        default_permissions = ("view",)
        permissions = [
            ("look", "May look at the staff pages"),
            ("operate", "May act on orders and jobs there"),
            ("administer", "May change keys and settings there"),
        ]
        indexes = [
            models.Index(name="staff_action_of", fields=["subject", "at"]),
            models.Index(name="staff_action_by", fields=["who", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.who}: {self.verb}"

    @property
    def order_id(self) -> str:
        """The id of the order that it was done to; empty for anything else."""
        return "" if " " in self.subject else self.subject

    @classmethod
    def of(cls, subject: Any) -> "models.QuerySet[StaffAction]":
        return cls._default_manager.filter(subject=str(subject)).order_by("at", "pk")

    @classmethod
    def note(cls, by: Any, verb: str, subject: Any, **seen: Any) -> "StaffAction":
        """Written in the transaction of what was done; `seen` are columns: said, before, after."""
        who = {"user": by.pk, "who": by.get_username()}
        return cls._default_manager.create(verb=verb, subject=str(subject), **who, **seen)

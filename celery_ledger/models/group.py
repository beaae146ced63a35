"""The groups that were saved by `GroupResult.save()`, to be restored by their ids."""

from typing import Any
from uuid import UUID

from django.db import models
from django.db.models.functions import Now


class GroupQuerySet(models.QuerySet["Group"]):
    def save_members(self, group: UUID, members: Any) -> None:
        """Keep the members of this group, or replace those that were kept before."""
        self.update_or_create(pk=group, defaults={"members": members})


class Group(models.Model):
    id = models.UUIDField(primary_key=True)
    members = models.JSONField()  # what GroupResult.as_tuple() returns
    created_at = models.DateTimeField(db_default=Now())

    objects = GroupQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(name="group_age", fields=["created_at"])]

    def __str__(self) -> str:
        return str(self.pk)

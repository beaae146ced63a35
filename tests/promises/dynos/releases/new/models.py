from typing import ClassVar

from django.db import models


class Parcel(models.Model):
    by = models.TextField()
    number = models.IntegerField()
    colour = models.TextField(db_default="brown")

    objects: ClassVar[models.Manager["Parcel"]]

    def __str__(self) -> str:
        return f"{self.by} {self.number}"

"""One try of a delivery, and what came of it."""

from http import HTTPStatus

from django.db import models
from django.db.models.functions import Now


class NotDelivered(Exception):
    """This try did not arrive, or we cannot know; the text is what the other side said."""

    def __init__(self, said: str, *, status: int | None = None, pause_s: float = 0.0) -> None:
        super().__init__(said)
        self.is_gone = status == HTTPStatus.GONE
        self.pause_s = pause_s  # that it asked for


class Attempt(models.Model):
    """One try of a delivery and what the other side said, for the people who ask why."""

    delivery = models.ForeignKey(
        "notifications.Delivery", on_delete=models.CASCADE, related_name="attempts"
    )
    ok = models.BooleanField()
    answer = models.TextField()
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.answer

    @property
    def status(self) -> int | None:
        """What an endpoint answered with, if it did."""
        status = self.answer.removeprefix("answered ")
        return int(status) if status != self.answer and status.isdigit() else None

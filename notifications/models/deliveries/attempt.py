"""One try of a delivery, and what came of it."""

from http import HTTPStatus
from typing import Any, NamedTuple

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Answer(NamedTuple):
    """What the other side said to a try; of a webhook also what it was asked and answered with."""

    said: str
    body: str | None = None  # the beginning of it
    request_headers: dict[str, str] | None = None

    def kept(self, *, after_s: float) -> dict[str, Any]:
        """As the columns of an attempt have it."""
        return {
            "answer": self.said[: settings.DELIVERY_ANSWER_MAX_CHARS],
            "duration_ms": round(after_s * 1000),
            "body": self.body,
            "request_headers": self.request_headers,
        }


class NotDelivered(Exception):
    """This try did not arrive, or we cannot know; the text is what the other side said."""

    def __init__(
        self, said: str, *, status: int | None = None, pause_s: float = 0.0, **kept: Any
    ) -> None:
        """`kept` is what else an Answer has."""
        super().__init__(said)
        self.answer = Answer(said, **kept)
        self.is_gone = status == HTTPStatus.GONE
        self.pause_s = pause_s  # that it asked for


NO_MAILBOX = "no such mailbox"  # how the answers begin that say so


class NoMailbox(NotDelivered):
    """The mail server says that there is none."""

    def __init__(self, said: str) -> None:
        pause_s = settings.MAILBOX_ASKED_AGAIN.total_seconds()
        super().__init__(f"{NO_MAILBOX}: {said}", pause_s=pause_s)


class Suppressed(NotDelivered):
    """Nothing is mailed to its address."""


class Attempt(models.Model):
    """One try of a delivery and what the other side said, for the people who ask why."""

    delivery = models.ForeignKey(
        "notifications.Delivery", on_delete=models.CASCADE, related_name="attempts"
    )
    ok = models.BooleanField()
    answer = models.TextField()
    at = models.DateTimeField(db_default=Now())
    # null of what was tried before it was kept; these two of mails as well
    duration_ms = models.IntegerField(null=True)
    body = models.TextField(null=True)  # what a webhook was answered with: the beginning of it
    request_headers = models.JSONField(null=True)

    def __str__(self) -> str:
        return self.answer

    @property
    def status(self) -> int | None:
        """What an endpoint answered with, if it did."""
        status = self.answer.removeprefix("answered ")
        return int(status) if status != self.answer and status.isdigit() else None

"""One try of a delivery, and what came of it."""

from http import HTTPStatus
from typing import Any, NamedTuple

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Answer(NamedTuple):
    """What the other side answered a try with; of a webhook also with which body, and to which
    headers.
    """

    text: str
    body: str | None = None  # its beginning
    request_headers: dict[str, str] | None = None

    def kept(self, *, after_s: float) -> dict[str, Any]:
        """The columns of the Attempt that keeps it, of a try that took `after_s`."""
        return {
            "answer": self.text[: settings.DELIVERY_ANSWER_MAX_CHARS],
            "duration_ms": round(after_s * 1000),
            "body": self.body,
            "request_headers": self.request_headers,
        }


class NotDelivered(Exception):
    """This try did not arrive, or we cannot know; its text is what the other side answered."""

    def __init__(
        self, text: str, *, status: int | None = None, pause_s: float = 0.0, **kept: Any
    ) -> None:
        """`kept` are the other fields of an Answer: body and request_headers."""
        super().__init__(text)
        self.answer = Answer(text, **kept)
        self.is_gone = status == HTTPStatus.GONE
        self.pause_s = pause_s  # that it asked for


NO_MAILBOX = "no such mailbox"  # how the answer of each NoMailbox begins


class NoMailbox(NotDelivered):
    """The mail server knows no mailbox of this address."""

    def __init__(self, reply: str) -> None:
        pause_s = settings.MAILBOX_ASKED_AGAIN.total_seconds()
        super().__init__(f"{NO_MAILBOX}: {reply}", pause_s=pause_s)


class Suppressed(NotDelivered):
    """The mail was not sent: its address is on the list of those that nothing is mailed to."""


class Attempt(models.Model):
    """One try of a delivery and what the other side answered, for people who ask why."""

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
        """The status of HTTP that an endpoint answered with; None without such an answer."""
        before, _, status = self.answer.partition("answered ")
        return int(status) if not before and status.isdigit() else None

"""The door that other apps knock on: say what happened, and whoever should know is told."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from celery_ledger import note_effect
from notifications.models import Event
from notifications.models.event import EVERYBODYS
from notifications.tasks import tell

KINDS = EVERYBODYS + tuple(
    f"order.{word}"
    for word in (
        "received reserved action_required payment_failed confirmed fulfilled restocked completed "
        "cancelled refund_pending refunded refund_failed held released replaced"
    ).split()
)
HOUSE_KINDS = ("report.daily",)  # told to people by mail, and to no endpoint


def record(kind: str, *, subject: UUID, seq: int, owner: UUID | None, data: dict[str, Any]) -> None:
    """Write the event and a delivery for everybody who is told of it, each with its job, in the
    caller's transaction.

    `subject` is whose life it belongs to and `seq` its place there (the caller holds the subject's
    lock), `owner` whose endpoints hear of it (None: nobody's, or of EVERYBODYS all clients'),
    `data` the snapshot that is sent: JSON, and with `order` in it the customer's `email` and
    `locale` say whom to mail, with `mail` in it its `to` (addresses) and `language`. Raises
    ValueError for a kind that neither KINDS nor HOUSE_KINDS knows.
    """
    if kind not in KINDS + HOUSE_KINDS:
        raise ValueError(f"unknown kind of event: {kind}")
    event = Event(kind=kind, subject=subject, seq=seq, owner=owner, data=data)
    tell(event)
    note_effect(kind, event.pk)


def timeline(subject: UUID, *, after: int = 0) -> QuerySet[Event]:
    """What has happened to it after that place in its life, in order."""
    return Event.objects.timeline(subject).filter(seq__gt=after)

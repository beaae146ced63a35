"""The door that other apps knock on: say what happened, and whoever should know is told."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet

from celery_ledger import context, note_effect
from notifications.models import Delivery, Event, Suppression
from notifications.models.event import BEGINNING, EVERYBODYS
from notifications.tasks import FIRST_ID, tell_all

# what an endpoint may listen to, and what each is told for
KINDS = {
    "stock.low": "what is free of a sku fell to its `low_at`",
    "order.received": "it is in the book",
    "order.reserved": "its goods are set aside",
    "order.action_required": "its customer has something to do before it is paid",
    "order.payment_failed": "a charge came to nothing",
    "order.payment_pending": "another card is charged, or a bank takes its time",
    "order.confirmed": "it is paid, or will be on delivery",
    "order.paid": "the money of a confirmed order has come",
    "order.fulfilled": "something of it was sent",
    "order.fulfilment_cancelled": "a fulfilment was booked by mistake",
    "order.restocked": "goods were taken back, and no money moved",
    "order.completed": "nothing of it is left to send",
    "order.cancelled": "it ended without being sent",
    "order.withdrawn": "its customer has withdrawn from the contract",
    "order.return_announced": "goods are to come back",
    "order.return_received": "they came back, with the refund that they bring",
    "order.return_cancelled": "they do not come back",
    "order.refund_pending": "a refund was promised",
    "order.refunded": "a refund was given",
    "order.refund_failed": "a refund came to nothing, or was sent back by the bank",
    "order.held": "it waits for a person",
    "order.released": "it goes on",
    "order.replaced": "its external_id belongs to another order now, which was imported again",
    "order.updated": "whom it is for, where it goes or what is noted of it was changed",
    "order.erased": "nothing of it says any more who it was for",
}
# told to people by mail, and to no endpoint
SHOP_KINDS = ("report.daily", "deliveries.failing", "endpoint.failing", "endpoint.disabled")
_then: ContextVar[datetime | None] = ContextVar("events_then", default=None)


@contextmanager
def as_of(moment: datetime | None) -> Iterator[None]:
    """What is recorded in this block happened at that moment, None for now: it was elsewhere."""
    token = _then.set(moment)
    try:
        yield
    finally:
        _then.reset(token)


def quiet() -> AbstractContextManager[None]:
    """Of what is done in this block, and by the jobs that it promises, no customer is mailed."""
    return context.bound(quiet="true")


def record(kind: str, *, subject: UUID, seq: int, owner: UUID | None, data: dict[str, Any]) -> None:
    """Write the event and a delivery for everybody who is told of it, each with its job, in the
    caller's transaction.

    `subject` is whose life it belongs to and `seq` its place there (the caller holds the subject's
    lock), `owner` whose endpoints hear of it (None: nobody's, or of EVERYBODYS all clients'),
    `data` the snapshot that is sent: JSON, and with `order` in it the customer's `email` and
    `locale` say whom to mail, with `mail` in it its `to` (addresses) and `language`. Raises
    ValueError for a kind that neither KINDS nor SHOP_KINDS knows.
    """
    record_all(kind, [News(subject, seq, data)], owner=owner)


class News(NamedTuple):
    """An event of several that happen at once; its members are those of `record`."""

    subject: UUID
    seq: int
    data: dict[str, Any]


def record_all(kind: str, news: Iterable[News], *, owner: UUID | None) -> None:
    """Like `record`, of several. Of many, jobs find who is told: nobody waits for that who waits
    for what the caller has locked.
    """
    if kind not in KINDS and kind not in SHOP_KINDS:
        raise ValueError(f"unknown kind of event: {kind}")
    then = {} if (moment := _then.get()) is None else {"at": moment}
    told = [Event(kind=kind, owner=owner, **one._asdict(), **then) for one in news]
    tell_all(told)
    for event in told:
        note_effect(kind, event.pk)


def forget(
    subject: UUID, *, says: dict[str, dict[str, Any]], unsays: Sequence[list[str]] = ()
) -> None:
    """Let each event of the subject say this of what its data names, and null at these paths that
    it has; and nobody's address stand on a mail about it, nor what webhooks were answered. One
    that waits is not sent any more.
    """
    Event.objects.rewrite(subject, says, unsays)
    Delivery.objects.forget_person(subject)


def forget_address(address: str) -> None:
    """Nobody can read any more whether nothing is mailed there, and nothing is that was not."""
    Suppression.objects.forget([address])


def told(
    owner: UUID, kinds: Sequence[str], *, after: UUID | None, since: datetime | None, limit: int
) -> list[Event]:
    """Up to so many of these kinds that this owner is told of, whether or not an endpoint listens:
    recorded after that event and not before that moment, in an order in which none is missed.
    Raises Event.DoesNotExist when `after` is no event of theirs.
    """
    whose = Q(owner=owner) | Q(kind__in=EVERYBODYS)
    place = Event.objects.get(whose, pk=after).place if after else BEGINNING
    beyond = max(place, (since, FIRST_ID)) if since else place
    return Event.objects.told(owner, kinds, beyond=beyond, limit=limit)


def last(kind: str) -> datetime | None:
    """When one of this kind, which is everybody's, was last recorded."""
    newest = Event.objects.newest_of_nobody(kind)
    return newest.place[0] if newest else None


def timeline(subject: UUID, *, after: int = 0) -> QuerySet[Event]:
    """What has happened to it after that place in its life, in order."""
    return Event.objects.timeline(subject).filter(seq__gt=after)

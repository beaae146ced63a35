"""The door for other apps: they record what has happened, and everybody who is to hear of it is
told.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import datetime
from itertools import batched
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet

from celery_ledger import bulk, context, note_effect, together
from notifications.models import Delivery, Event, Suppression
from notifications.models.event import BEGINNING, EVERYBODYS, FIRST_ID
from notifications.tasks import announce_all, note_all_untold, tell

# what an endpoint may listen to, and when each is recorded
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
    "order.withdrawn": "its customer has withdrawn from the contract or from a part of it",
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
# of which people hear by mail, and no endpoint
SHOP_KINDS = ("report.daily", "deliveries.failing", "endpoint.failing", "endpoint.disabled")
_then: ContextVar[datetime | None] = ContextVar("events_then", default=None)


@contextmanager
def as_of(moment: datetime | None) -> Iterator[None]:
    """What is recorded in this block is stamped with that moment (None: now), since it happened
    elsewhere.
    """
    token = _then.set(moment)
    try:
        yield
    finally:
        _then.reset(token)


def quiet() -> AbstractContextManager[None]:
    """No customer is mailed of what is done in this block, or by the jobs that it promises."""
    return context.bound(quiet="true")


def record(kind: str, *, subject: UUID, seq: int, owner: UUID | None, data: dict[str, Any]) -> None:
    """Write the event and a delivery for everybody who is told of it, each with its job, in the
    caller's transaction.

    * `subject`, `seq`: whose life it belongs to, and its place there. The caller holds the
      subject's lock.
    * `owner`: the client whose endpoints hear of it; None: nobody's, or all clients' if the kind is
      one of EVERYBODYS.
    * `data`: the snapshot that is sent, as JSON. If it has an `order`, that one's `email` and
      `locale` say whom to mail; if it has `mail`, its `to` (addresses) and `language` do.

    Raises ValueError for a kind that is in neither KINDS nor SHOP_KINDS.
    """
    record_all(kind, [News(subject, seq, data)], owner=owner)


class News(NamedTuple):
    """An event of several that happen at once; its members are those of `record`."""

    subject: UUID
    seq: int
    data: dict[str, Any]


def record_all(kind: str, news: Iterable[News], *, owner: UUID | None) -> None:
    """Like `record`, of several events of one kind. Of more than TELL_AT_ONCE, jobs write the
    deliveries: else everybody would wait for that who waits for what the caller has locked.
    """
    if kind not in KINDS and kind not in SHOP_KINDS:
        raise ValueError(f"unknown kind of event: {kind}")
    moment = _then.get()
    stamp = {} if moment is None else {"at": moment}
    recorded = [Event(kind=kind, owner=owner, **one._asdict(), **stamp) for one in news]
    if len(recorded) <= settings.TELL_AT_ONCE:
        for event in recorded:
            tell(event)
    else:
        _tell_later(recorded)
    for event in recorded:
        note_effect(kind, event.pk)


def _tell_later(recorded: Sequence[Event]) -> None:
    """Write these events; jobs of the bulk queue tell of TELL_AT_ONCE each."""
    Event.objects.bulk_create(recorded)
    with bulk(), together():
        for some in batched(recorded, settings.TELL_AT_ONCE):
            ids = [str(event.pk) for event in some]
            announce_all.apply_async((ids,), link_error=note_all_untold.si(ids))


def forget(
    subject: UUID, *, members: dict[str, dict[str, Any]], nulls: Sequence[list[str]] = ()
) -> None:
    """Let nothing of this subject's life say who a person was, in the caller's transaction.

    In the `data` of each of its events, wherever it has them, `members` replace those of the same
    name ({"order": {"email": null}}: the order's email), and null stands at each of these paths
    (["order", "withdrawal", "name"]). Its mails lose their addresses, and those that wait are not
    sent any more; what its webhooks were answered with is deleted.
    """
    Event.objects.rewrite(subject, members, nulls)
    Delivery.objects.forget_person(subject)


def forget_address(address: str) -> None:
    """On the list of addresses that nothing is mailed to, keep of this one only a hash: nothing is
    mailed there as before, and nobody can read it.
    """
    Suppression.objects.forget([address])


def feed(
    owner: UUID, kinds: Sequence[str], *, after: UUID | None, since: datetime | None, limit: int
) -> list[Event]:
    """Up to `limit` events of these kinds that this owner may hear of, whether or not an endpoint
    listens: recorded after the event with the id `after` and not before the moment `since`, in an
    order in which none is missed. Raises Event.DoesNotExist when `after` is no event of theirs.
    """
    whose = Q(owner=owner) | Q(kind__in=EVERYBODYS)
    place = Event.objects.get(whose, pk=after).place if after else BEGINNING
    beyond = max(place, (since, FIRST_ID)) if since else place
    return Event.objects.feed(owner, kinds, beyond=beyond, limit=limit)


def last(kind: str) -> datetime | None:
    """When an event of this kind, one that belongs to no client, was last recorded; None: never."""
    newest = Event.objects.newest_of_nobody(kind)
    return newest.place[0] if newest else None


def timeline(subject: UUID, *, after: int = 0) -> QuerySet[Event]:
    """The events of the subject whose `seq` is greater than `after`, in order."""
    return Event.objects.timeline(subject).filter(seq__gt=after)

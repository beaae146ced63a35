"""A verb is rehearsed before it is done, so that its page says in figures what it comes to, and
leaves a row of who did it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import QuerySet
from django.utils.functional import Promise

from notifications import events
from notifications.models import Delivery
from ops.models import StaffAction
from ops.orders.forms.verb import VerbForm
from orders.models import Client, Order

Entered = Mapping[str, Any]
STANDING = ("version", "state", "payment_state", "captured", "refunded", "refund_pending", "held")
NOBODY = ""
LOCK_NOT_AVAILABLE = "55P03"


class Overtaken(Exception):
    """The order is not any more as the page showed it."""


class Busy(Exception):
    """A worker or somebody else is at the order for longer than a page waits."""


def _all(target: Any, entered: Entered) -> Entered:
    return entered


@dataclass(frozen=True)
class Verb:
    """What can be done to an order, or to a part of it: `may`, `do` and the form are given the
    order, or the part. `do` is also given what the form holds and the login name of who sent it,
    NOBODY in a rehearsal; it returns sentences for the page, where figures do not say all. `noted`
    is what of the form is kept in the StaffAction.
    """

    word: Promise
    may: Callable[[Any], bool]
    do: Callable[[Any, Entered, str], list[str] | None]
    form: type[VerbForm] = VerbForm
    parts: Callable[[Order], QuerySet[Any]] | None = None
    noted: Callable[[Any, Entered], Entered] = _all
    is_dangerous: bool = False
    is_about_person: bool = False  # of all orders of its client, which is locked before them
    at_any_version: bool = False  # whatever has become of the order meanwhile


@dataclass(frozen=True)
class Deed:
    """A verb with what its form holds, and the part of the order that it is done to."""

    slug: str
    verb: Verb
    entered: Entered
    part: UUID | None = None

    def target(self, order: Order) -> Any:
        """The order, or its part. Raises Overtaken for a part that is not there any more."""
        if self.verb.parts is None:
            return order
        found = self.verb.parts(order).filter(pk=self.part).first()
        if found is None:
            raise Overtaken
        return found


@dataclass(frozen=True)
class Outcome:
    """How an order stood and how it stands then, the deliveries that come of it, and sentences
    about what is in neither.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    deliveries: list[Delivery]
    sentences: list[str] = field(default_factory=list)

    @property
    def is_seen(self) -> bool:
        """Whether figures of the order change, its version apart."""
        return self.before | {"version": 0} != self.after | {"version": 0}

    @property
    def paid_back(self) -> int:
        """Minor units that it pays back or promises to."""
        back = "refunded", "refund_pending"
        return sum(self.after[name] - self.before[name] for name in back)


def standing(order: Order) -> dict[str, Any]:
    """Those figures of an order that a verb may change: JSON, amounts in minor units."""
    values = {name: getattr(order, name) for name in STANDING}
    return values | {"to_send": sum(units for _line, units in order.open_units)}


def rehearse(order: Order, deed: Deed) -> Outcome:
    """What the deed would come to now: it is done, looked at and rolled back. Waits
    OPS_REHEARSAL_LOCK_MS for the order and no longer: a page can do without a rehearsal. Raises
    Overtaken when the order is beyond it, Busy and Refused.
    """
    with _no_longer_than_a_page_waits(), transaction.atomic():
        locked = _locked(order, deed.verb, wait_ms=settings.OPS_REHEARSAL_LOCK_MS)
        outcome = _done(locked, deed, by=NOBODY)
        transaction.set_rollback(True)
    return outcome


def perform(order: Order, deed: Deed, *, version: str, by: Any) -> None:
    """Do the deed to the order of that version, and write the StaffAction. Raises Overtaken when
    somebody or something was faster, Busy and Refused.
    """
    with _no_longer_than_a_page_waits(), transaction.atomic():
        locked = _locked(order, deed.verb)
        if version != str(locked.version) and not deed.verb.at_any_version:
            raise Overtaken
        target = deed.target(locked)
        noted = dict(deed.verb.noted(target, deed.entered))
        if deed.part:
            noted["of"] = str(target)
        outcome = _done(locked, deed, by=by.get_username())
        seen = {"before": outcome.before, "after": outcome.after}
        StaffAction.note(by, deed.slug, order.pk, said=noted, **seen)


def _locked(order: Order, verb: Verb, *, wait_ms: int | None = None) -> Order:
    if verb.is_about_person:
        Client.objects.locked(order.client_id)
    return Order.objects.locked(order.pk, wait_ms=wait_ms)


def _done(order: Order, deed: Deed, *, by: str) -> Outcome:
    before, target = standing(order), deed.target(order)
    if not deed.verb.may(target):
        raise Overtaken
    sentences = deed.verb.do(target, deed.entered, by) or []
    order.refresh_from_db()
    news = events.timeline(order.pk, after=before["version"])
    deliveries = Delivery.objects.filter(event__in=news).select_related("endpoint", "event")
    return Outcome(before, standing(order), list(deliveries.order_by("channel", "pk")), sentences)


@contextmanager
def _no_longer_than_a_page_waits() -> Iterator[None]:
    try:
        yield
    except OperationalError as exc:
        if getattr(exc.__cause__, "sqlstate", "") == LOCK_NOT_AVAILABLE:
            raise Busy from None
        raise

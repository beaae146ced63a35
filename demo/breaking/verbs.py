"""What a visitor may break, and who may.

Whoever orders may click twice or have the bank's answer lost: that is an order, and counts as one.
A bell that rings twice costs two looks at a row. To flush the broker or to kill a worker holds up
the work of others too, so that is for staff who may operate, or for everybody where DEBUG is on.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

from celery import current_app
from django.conf import settings
from django.db import connections
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy, override

from celery_ledger import FINISHED, Job, State, context
from demo.cards import LOST_ANSWER, cards
from demo.menu import CLIENT, OrderForm
from demo.ordering import ordered
from demo.tasks import flush_broker, order_and_fall
from orders.models import Client, Order

OPERATE = "ops.operate"  # of the staff pages, where there are any


@dataclass(frozen=True, slots=True)
class Verb:
    slug: str
    word: Promise
    effect: Promise  # in a sentence
    orders: bool = False  # sends the order form
    for_staff: bool = False


VERBS = (
    Verb(
        "twice",
        gettext_lazy("Click twice"),
        gettext_lazy("Your order is sent twice at the same moment."),
        orders=True,
    ),
    Verb(
        "answer",
        gettext_lazy("Lose the answer"),
        gettext_lazy("You order, the bank takes the money, and its answer never arrives."),
        orders=True,
    ),
    Verb(
        "bell",
        gettext_lazy("Ring a bell twice"),
        gettext_lazy("The newest job is rung for two more times."),
    ),
    Verb(
        "flush",
        gettext_lazy("Flush the broker"),
        gettext_lazy("All messages that wait are thrown away."),
        for_staff=True,
    ),
    Verb(
        "kill",
        gettext_lazy("Kill a worker"),
        gettext_lazy("A process is killed while it places an order."),
        for_staff=True,
    ),
)


def offered(request: HttpRequest) -> list[Verb]:
    """The verbs that this visitor may press here."""
    may_all = settings.DEBUG or request.user.has_perm(OPERATE)
    can_lose = any(token == LOST_ANSWER for token, _words in cards())
    return [
        verb
        for verb in VERBS
        if (may_all or not verb.for_staff) and (can_lose or verb.slug != "answer")
    ]


class Rests:
    """Until when each verb rests: it is pressed once in DEMO_BREAK_REST_S, by all visitors of a
    process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def take(self, slug: str) -> bool:
        """Begin the rest of a verb; False while it rests already."""
        with self._lock:
            now = monotonic()
            if now < self._until.get(slug, now):
                return False
            self._until[slug] = now + settings.DEMO_BREAK_REST_S
            return True


rests = Rests()


# --- orders ---------------------------------------------------------------------------------------


def click_twice(form: OrderForm) -> list[Order]:
    """Send this valid form from two threads at once: the orders that came of it, which should be
    one. None of them when it was refused: the form says why.
    """
    with ThreadPoolExecutor(1) as other:
        second = other.submit(_click, form.data, get_language() or "en")
        found = [ordered(form), second.result()]
    return list({order.pk: order for order in found if order}.values())


def _click(data: Mapping[str, str], language: str) -> Order | None:
    try:
        with override(language):
            form = OrderForm(data)
            return ordered(form) if form.is_valid() else None
    finally:
        connections.close_all()


# --- what works for them --------------------------------------------------------------------------


def ring_twice() -> Job | None:
    """Two more bells for the newest job of the demo shop, whether it waits, runs or is done. None
    when there is none, or the broker took no bell.
    """
    job = _newest_job()
    amqp = current_app.amqp
    return job if job and amqp.bell.ring([amqp.ring_for(job)] * 2) else None


def _newest_job() -> Job | None:
    client = Client.objects.filter(name=CLIENT).first()
    mine = Job.objects.filter(owner=str(client.pk) if client else None)
    heard = mine.filter(queue__in=settings.LEDGER["QUEUES"])
    return (
        heard.filter(state=State.WAITING).order_by("due_at").first()
        or heard.filter(state=State.RUNNING).order_by("lease_until").first()
        or mine.filter(state__in=FINISHED).order_by("-created_at", "-id").first()
    )


def flush() -> None:
    with context.bound(client=_owner()):
        flush_broker.delay()


def kill() -> None:
    with context.bound(client=_owner()):
        order_and_fall.delay(str(uuid4()))


def _owner() -> str:
    client, _created = Client.objects.get_or_create(name=CLIENT)
    return str(client.pk)

"""The belt: what needs a person first, then whether everything moves."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from celery import current_app
from django.conf import settings
from django.db.models.functions import Now
from django.utils.timezone import now as _now

from celery_ledger import FINISHED, Job, Pause, State, Worker
from notifications.oversight.trouble import Trouble, troubles
from ops.belt.plates import Lane, lanes
from orders.models import Order, Stock

SHOWN_MAX = 20  # of each list
COUNTED_MAX = 200  # of what is many; beyond it says "200+"
DONE_LOOKED_AT = 300  # newest finished jobs, of the last hour: waits and the picture are theirs
BARS = 30
STILL_AFTER_S = 60  # for which a job has been due
BAR_MAX = 100  # height of the picture
Moments = tuple[datetime, datetime | None, datetime]  # due, begun, ended


@dataclass(frozen=True)
class Bar:
    x: int
    height: int
    jobs: int

    @property
    def y(self) -> int:
        return BAR_MAX - self.height


@dataclass(frozen=True)
class Pace:
    """Of the newest jobs that ended: how long they waited and ran, in ms, and how many a minute."""

    wait_p50: int
    wait_p95: int
    run_p50: int
    run_p95: int
    a_minute: int


@dataclass(frozen=True)
class Belt:
    held: list[Order]
    dead: list[Job]
    troubles: list[Trouble]
    low: list[Stock]
    paused: list[Pause]
    waiting: str
    running: str
    oldest_due_s: float | None
    workers: int
    pace: Pace | None
    lanes: list[Lane]
    has_broker: bool
    bars: list[Bar]
    since: datetime | None  # the picture's left edge
    shown: int  # jobs in the picture

    @property
    def needs_a_person(self) -> bool:
        return bool(self.held or self.dead or self.troubles or self.low or self.paused)

    @property
    def is_still(self) -> bool:
        """Work is due for long, or nobody is there to do it."""
        return not self.workers or (self.oldest_due_s or 0) > STILL_AFTER_S


def now() -> Belt:
    """As it stands; every list and count is bounded."""
    lately = _lately()
    ended = [end for _due, _began, end in lately]
    oldest = _oldest_due()
    return Belt(
        held=list(Order.objects.filter(held=True).order_by("-pk")[:SHOWN_MAX]),
        dead=list(Job.objects.filter(state=State.DEAD).order_by("-created_at")[:SHOWN_MAX]),
        troubles=troubles()[:SHOWN_MAX],
        low=list(Stock.objects.low()[:SHOWN_MAX]),
        paused=list(Pause.objects.order_by("at")[:SHOWN_MAX]),
        waiting=_counted(State.WAITING),
        running=_counted(State.RUNNING),
        oldest_due_s=(_now() - oldest).total_seconds() if oldest else None,
        workers=Worker.objects.living().count(),
        pace=_pace(lately),
        lanes=lanes(),
        has_broker=current_app.amqp.bell.answers(),
        bars=_bars(ended),
        since=ended[-1] if ended else None,
        shown=len(ended),
    )


def _oldest_due() -> datetime | None:
    """Of each queue's first ones by their bells."""
    due = Job.objects.filter(state=State.WAITING, due_at__lte=Now())
    found = [
        moment
        for queue in settings.LEDGER["QUEUES"]
        for moment in due.filter(queue=queue).by_bell().values_list("due_at", flat=True)[:100]
    ]
    return min(found, default=None)


def _counted(state: State) -> str:
    number = Job.objects.filter(state=state)[: COUNTED_MAX + 1].count()
    return f"{COUNTED_MAX}+" if number > COUNTED_MAX else str(number)


def _lately() -> list[Moments]:
    """When the newest jobs of the last hour were due, began and ended; the newest first."""
    rows = Job.objects.filter(
        state__in=FINISHED, finished_at__gt=Now() - timedelta(hours=1)
    ).order_by("-finished_at")[:DONE_LOOKED_AT]
    return list(rows.values_list("due_at", "started_at", "finished_at"))


def _pace(lately: list[Moments]) -> Pace | None:
    ran = [(due, began, end) for due, began, end in lately if began]
    if not ran:
        return None
    waits = sorted(_ms(began - due) for due, began, _end in ran)
    runs = sorted(_ms(end - began) for _due, began, end in ran)
    minutes = max((_now() - ran[-1][2]).total_seconds() / 60, 1)
    middle, late = len(ran) // 2, int(len(ran) * 0.95)
    return Pace(waits[middle], waits[late], runs[middle], runs[late], round(len(ran) / minutes))


def _ms(span: timedelta) -> int:
    return max(0, int(span.total_seconds() * 1000))


def _bars(ended: list[datetime]) -> list[Bar]:
    """Jobs that ended in each slice of the time since the first of these did."""
    if not ended:
        return []
    begin, end = ended[-1], _now()
    slice_s = max((end - begin).total_seconds() / BARS, 0.001)
    counts = [0] * BARS
    for moment in ended:
        counts[min(BARS - 1, int((moment - begin).total_seconds() / slice_s))] += 1
    most = max(counts)
    return [Bar(n * 20 + 1, BAR_MAX * jobs // most, jobs) for n, jobs in enumerate(counts)]

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
DUE_LOOKED_AT = 100  # due jobs of each queue
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
    """How long the newest jobs that ended waited and ran, in ms, and how many ended a minute."""

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
    pictured: int  # jobs in the picture

    @property
    def needs_a_person(self) -> bool:
        return bool(self.held or self.dead or self.troubles or self.low or self.paused)

    @property
    def is_still(self) -> bool:
        """A job has been due for longer than STILL_AFTER_S, or no worker lives."""
        return not self.workers or (self.oldest_due_s or 0) > STILL_AFTER_S


def now() -> Belt:
    """The belt as it stands; every list and count is bounded."""
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
        pictured=len(ended),
    )


def _oldest_due() -> datetime | None:
    """Since when a job has been due, among the first ones of each queue by their bells."""
    due = Job.objects.filter(state=State.WAITING, due_at__lte=Now())
    moments: list[datetime] = []
    for queue in settings.LEDGER["QUEUES"]:
        first = due.filter(queue=queue).by_bell()[:DUE_LOOKED_AT]
        moments += first.values_list("due_at", flat=True)
    return min(moments, default=None)


def _counted(state: State) -> str:
    number = Job.objects.filter(state=state)[: COUNTED_MAX + 1].count()
    return f"{COUNTED_MAX}+" if number > COUNTED_MAX else str(number)


def _lately() -> list[Moments]:
    """When the newest jobs of the last hour were due, began and ended; the newest first."""
    hour_ago = Now() - timedelta(hours=1)
    ended = Job.objects.filter(state__in=FINISHED, finished_at__gt=hour_ago)
    newest = ended.order_by("-finished_at")[:DONE_LOOKED_AT]
    return list(newest.values_list("due_at", "started_at", "finished_at"))


def _pace(lately: list[Moments]) -> Pace | None:
    ran = [(due, began, end) for due, began, end in lately if began]
    if not ran:
        return None
    waits = sorted(_ms(began - due) for due, began, _end in ran)
    runs = sorted(_ms(end - began) for _due, began, end in ran)
    _due, _began, first_end = ran[-1]
    minutes = max((_now() - first_end).total_seconds() / 60, 1)
    p50, p95 = len(ran) // 2, int(len(ran) * 0.95)
    return Pace(waits[p50], waits[p95], runs[p50], runs[p95], round(len(ran) / minutes))


def _ms(span: timedelta) -> int:
    return max(0, int(span.total_seconds() * 1000))


def _bars(ended: list[datetime]) -> list[Bar]:
    """How many jobs ended in each of BARS slices of time since the oldest of these ended."""
    if not ended:
        return []
    begin, end = ended[-1], _now()
    slice_s = max((end - begin).total_seconds() / BARS, 0.001)
    counts = [0] * BARS
    for moment in ended:
        position = int((moment - begin).total_seconds() / slice_s)
        counts[min(BARS - 1, position)] += 1
    most = max(counts)
    return [Bar(n * 20 + 1, BAR_MAX * jobs // most, jobs) for n, jobs in enumerate(counts)]

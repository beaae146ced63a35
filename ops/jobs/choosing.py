"""Which jobs staff mean, and how they are read: page by page for a person, portion by portion for a
batch, always along an index and never more rows at a time than a setting allows.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import Q, TextField
from django.db.models.functions import Cast

from celery_ledger import FINISHED, Job, JobQuerySet, State
from orders.about import ids_about

RETRYABLE = (State.DEAD, State.CANCELLED)
MOMENTS: dict[str, str] = {State.WAITING: "ring_at", State.DONE: "finished_at"}
LARGE = ("args", "envelope", "result", "context", "history")


class Place(NamedTuple):
    """The row behind which the reading goes on; `queue` is empty unless it is read by queues."""

    queue: str
    moment: datetime
    id: UUID

    def written(self) -> str:
        return f"{self.queue},{self.moment.isoformat()},{self.id}"

    @classmethod
    def read(cls, text: str) -> "Place":
        """What `written` returned. Raises ValueError for any other text."""
        queue, _, rest = text.partition(",")
        moment, _, id_ = rest.partition(",")
        place = cls(queue, datetime.fromisoformat(moment), UUID(id_))
        if place.moment.tzinfo is None:
            raise ValueError(moment)
        return place


@dataclass(frozen=True)
class Chosen:
    """A filter of jobs: each field that is set narrows it. All are text, as a form and a row hold
    them.
    """

    state: str = ""
    task: str = ""
    queue: str = ""
    owner: str = ""
    about: str = ""
    since: str = ""  # ISO 8601

    @property
    def fields(self) -> dict[str, str]:
        """What is set, by name: for an address, a row or a page."""
        return {name: text for name, text in asdict(self).items() if text}

    @cached_property
    def names(self) -> Collection[str]:
        """Texts of which one has to stand in a job's arguments; none when any job will do."""
        return [self.about, *ids_about(self.about)] if self.about else ()

    def means(self, job: Job) -> bool:
        return (
            job.task == (self.task or job.task)
            and job.queue == (self.queue or job.queue)
            and job.owner == (self.owner or job.owner)
            and (not self.since or job.created_at >= datetime.fromisoformat(self.since))
            and (not self.about or _is_called_with(job, self.names))
        )


@dataclass(frozen=True)
class Found:
    """The jobs that are meant among so many that were looked at, and the place behind which there
    are more to be looked at.
    """

    jobs: list[Job]
    looked_at: int
    place: Place | None


def newest(chosen: Chosen, place: Place | None) -> Found:
    """A page for a person: the newest first; of waiting jobs, the one whose bell is next first."""
    most = settings.OPS_JOBS_LOOKED_AT
    if chosen.state == State.WAITING:
        rows = _waiting(chosen, place, most)
    elif chosen.state == State.RUNNING:  # few, in an index of their own
        rows = list(_all(chosen).order_by("lease_until")[:most])
    else:
        rows = _from_the_newest(chosen, place, most)
    return _found(chosen, rows, most, page=settings.OPS_ROWS_MAX)


def portion(chosen: Chosen, place: Place | None, *, until: datetime, most: int) -> Found:
    """A portion for a batch, of jobs that were promised until then: the oldest first; of waiting
    jobs, the one whose bell is next first. For states that an index holds: waiting and RETRYABLE.
    """
    if chosen.state == State.WAITING:
        return _found(chosen, _waiting(chosen, place, most), most, until=until)
    jobs = _all(chosen).filter(state__in=RETRYABLE).order_by("created_at", "id")
    if place:
        after = Q(created_at__gt=place.moment) | Q(created_at=place.moment, id__gt=place.id)
        jobs = jobs.filter(after, created_at__gte=place.moment)
    return _found(chosen, list(jobs.filter(created_at__lte=until)[: most + 1]), most)


def _all(chosen: Chosen) -> JobQuerySet:
    """The jobs as far as an index narrows them, without the large columns."""
    jobs = Job.objects.defer(*LARGE)
    if chosen.about:
        jobs = jobs.annotate(args_text=Cast("args", TextField()))
    if chosen.state == State.DONE:
        jobs = jobs.filter(state__in=FINISHED)
    if chosen.state:
        jobs = jobs.filter(state=chosen.state)
    if chosen.since and chosen.state != State.WAITING:
        jobs = jobs.filter(created_at__gte=datetime.fromisoformat(chosen.since))
    return jobs


def _from_the_newest(chosen: Chosen, place: Place | None, most: int) -> list[Job]:
    """Jobs from that place on, the newest first: up to `most`, and one more."""
    moment = _moment_of(chosen.state)
    jobs = _all(chosen).order_by(f"-{moment}", "-id")
    if place:
        same = Q(**{moment: place.moment}, id__lt=place.id)
        before = same | Q(**{f"{moment}__lt": place.moment})
        jobs = jobs.filter(before, **{f"{moment}__lte": place.moment})
    return list(jobs[: most + 1])


def _waiting(chosen: Chosen, place: Place | None, most: int) -> list[Job]:
    """Waiting jobs from that place on, queue by queue: up to `most`, and one more."""
    rows: list[Job] = []
    queues = [chosen.queue] if chosen.queue else sorted(settings.LEDGER["QUEUES"])
    for queue in queues:
        if place and queue < place.queue:
            continue
        jobs = _all(chosen).filter(queue=queue).by_bell().order_by("ring_at", "id")
        if place and queue == place.queue:
            after = Q(ring_at__gt=place.moment) | Q(ring_at=place.moment, id__gt=place.id)
            jobs = jobs.filter(after, ring_at__gte=place.moment)
        rows += jobs[: most + 1 - len(rows)]
        if len(rows) > most:
            break
    return rows


def _found(
    chosen: Chosen,
    rows: list[Job],
    most: int,
    *,
    page: int | None = None,
    until: datetime | None = None,
) -> Found:
    """The jobs that are meant among the first `most` rows, a page of them at most."""
    meant: list[Job] = []
    looked_at = 0
    for job in rows[:most]:
        looked_at += 1
        if chosen.means(job) and (until is None or job.created_at <= until):
            meant.append(job)
        if len(meant) == page:
            break
    more = looked_at < len(rows)
    return Found(meant, looked_at, _place_of(rows[looked_at - 1], chosen.state) if more else None)


def _moment_of(state: str) -> str:
    """The column by which an index orders the jobs of that state."""
    return MOMENTS.get(state, "created_at")


def _place_of(job: Job, state: str) -> Place:
    queue = job.queue if state == State.WAITING else ""
    return Place(queue, getattr(job, _moment_of(state)), job.pk)


def _is_called_with(job: Job, names: Collection[str]) -> bool:
    """Whether one of these stands in its arguments."""
    return any(name in job.args_text for name in names)  # type: ignore[attr-defined]  # annotated

"""A job's life as plates on a belt: promised, due, begun, ended."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from celery_ledger import FINISHED, Job, State

ENDS = {
    State.DONE: gettext_lazy("Done"),
    State.DEAD: gettext_lazy("Dead"),
    State.CANCELLED: gettext_lazy("Cancelled"),
}


@dataclass(frozen=True)
class Step:
    word: Promise
    at: datetime | None
    look: str  # done, now, stuck or nothing: as config/static/kaiten.css has it
    after: timedelta | None = None  # since the step before


def life_of(job: Job) -> list[Step]:
    """The steps of its newest attempt. Those before are in `explain`."""
    has_ended = job.state in FINISHED
    began = job.started_at if job.attempts and job.state != State.WAITING else None
    is_due = job.due_at <= job.now  # type: ignore[attr-defined]  # annotated
    end = ENDS.get(State(job.state), gettext_lazy("End"))
    waits = "done" if began or has_ended else "now"
    return [
        Step(gettext_lazy("Promised"), job.created_at, "done"),
        Step(gettext_lazy("Due"), job.due_at, waits if is_due else "now"),
        Step(gettext_lazy("Begun"), began, _look(began), _between(job.due_at, began)),
        Step(
            end,
            job.finished_at,
            "stuck" if job.state in (State.DEAD, State.CANCELLED) else _look(job.finished_at),
            _between(began, job.finished_at),
        ),
    ]


def _look(moment: datetime | None) -> str:
    return "done" if moment else ""


def _between(begin: datetime | None, end: datetime | None) -> timedelta | None:
    return max(end - begin, timedelta()) if begin and end else None

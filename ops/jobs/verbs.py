"""What staff do to jobs, queues, tasks and the schedule; each leaves a StaffAction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from celery_ledger import Job, PauseKind, State, interventions, pausing, scheduled
from ops.models import StaffAction


@dataclass(frozen=True)
class Verb:
    word: Promise
    states: tuple[str, ...]
    do: Callable[..., list[Job]]  # (jobs, by=login name): those that it changed
    why_not: dict[State, str]
    is_dangerous: bool = False
    leaves_begun: bool = False  # a batch of it leaves alone what has begun since it was asked for


VERBS: dict[str, Verb] = {
    "retry": Verb(
        gettext_lazy("Try again"),
        (State.DEAD, State.CANCELLED),
        interventions.retry,
        interventions.WHY_NOT_RETRIED,
    ),
    "run_now": Verb(
        gettext_lazy("Run now"),
        (State.WAITING,),
        interventions.run_now,
        interventions.WHY_NOT_HURRIED,
        leaves_begun=True,  # one that waits anew is not hurried twice
    ),
    "cancel": Verb(
        gettext_lazy("Cancel"),
        (State.WAITING,),
        interventions.cancel,
        interventions.WHY_NOT_CANCELLED,
        is_dangerous=True,
    ),
    "discard": Verb(
        gettext_lazy("Put aside"),
        (State.DEAD,),
        interventions.discard,
        interventions.WHY_NOT_ENDED,
        is_dangerous=True,
    ),
}


def fitting(state: str) -> dict[str, Verb]:
    """The verbs that can be done to jobs in that state."""
    return {slug: verb for slug, verb in VERBS.items() if state in verb.states}


def perform(job: Job, slug: str, *, by: Any) -> bool:
    """Do the verb to the job. False when the job was no longer in a state for it."""
    with transaction.atomic():
        done = bool(VERBS[slug].do(Job.objects.filter(pk=job.pk), by=by.get_username()))
        if done:
            seen = {"said": {"task": job.task}, "before": {"state": job.state}}
            StaffAction.note(by, f"job_{slug}", f"job {job.pk}", **seen)
    return done


def _pause(kind: PauseKind, name: str, by: str, note: str) -> bool:
    return pausing.pause(kind, name, by=by, note=note)


def _resume(kind: PauseKind, name: str, by: str, _note: str) -> bool:
    return pausing.resume(kind, name, by=by)


def _run(kind: PauseKind, name: str, _by: str, _note: str) -> bool:
    if kind == PauseKind.SCHEDULE:
        scheduled.run_out_of_turn(name)
    return kind == PauseKind.SCHEDULE


ON_QUEUES = {"pause": _pause, "resume": _resume, "run": _run}


def perform_on_queue(slug: str, cleaned: dict[str, str], *, by: Any) -> bool:
    """Pause, resume or run what a PauseForm names: a queue, a task or an entry of the schedule.
    False when it was so already.
    """
    kind, name, note = PauseKind(cleaned["kind"]), cleaned["name"], cleaned["note"]
    with transaction.atomic():
        done = ON_QUEUES[slug](kind, name, by.get_username(), note)
        if done:
            StaffAction.note(by, f"queue_{slug}", f"{kind} {name}", said={"note": note})
    return done

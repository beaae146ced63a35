"""`jobs why`: what has become of a job, in sentences made from its row, and why one that waits does
not run.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from celery import Celery, current_app
from django.db.models import TextField
from django.db.models.functions import Cast, Now

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job, Pause, State, Worker
from celery_ledger.models.jobs.history import End
from celery_ledger.operations.listing import local_time
from celery_ledger.publishing.limits import name_of, places_of
from celery_ledger.publishing.waking import threaded_tasks
from celery_ledger.telemetry.unheard import unheard

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but for tabs and ends of lines
ENDS = {
    End.RETRY: "attempt {attempt} on {who} asked to be tried again",
    End.TROUBLE: "attempt {attempt} on {who} met trouble",
    End.LOST: "attempt {attempt} on {who} was lost",
    End.STOPPED: "attempt {attempt} on {who} was cut short by a stop",
    End.DEAD: "attempt {attempt} on {who} was the last: it is dead",
    End.CANCELLED: "it was cancelled after {attempt} attempts",
    End.DISCARDED: "a person put it aside, dead as it was after {attempt} attempts",
    End.RETRIED: "a person retried it, and its counts began anew, after {attempt} attempts",
}


class Story:
    """The sentences about one job, as it is at the moment `now` of Postgres' clock."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.now: datetime = job.now  # type: ignore[attr-defined]  # annotated by `explain`
        self.result: str | None = job.result_text  # type: ignore[attr-defined]

    def sentences(self) -> Iterator[str]:
        """All sentences, each on a line of its own."""
        yield f"{self.job.task} {self.job.pk} is {self.job.state}."
        if self.job.unreachable:
            yield "It was never promised, because a job before it in its chain or chord died."
            yield from self.error()
            return
        yield self.promise()
        yield from self.history()
        yield from self.holder()
        yield from self.outcome()
        yield from self.children()
        if self.job.state == State.WAITING:
            for reason in reasons(self.job, self.now, current_app):
                yield f"It is not running because {reason}"
        yield from self.traceback()

    def promise(self) -> str:
        """When and by whom the job was promised."""
        context = dict(self.job.context)
        request, owner = context.pop("request_id", None), context.pop(ledger_settings.OWNER, None)
        no_request = "no request (a shell, a schedule or another job)"
        by = f"by request {request}" if request else f"by {no_request}"
        by += f" of {ledger_settings.OWNER} {owner}" if owner else ""
        by += "".join(f", {name} {value}" for name, value in sorted(context.items()))
        if self.job.parent_id:
            task = Job.objects.filter(pk=self.job.parent_id).values_list("task", flat=True).first()
            by += f", out of job {self.job.parent_id} ({task or 'already pruned'})"
        return (
            f"It was promised at {local_time(self.job.created_at)} {by}, "
            f"for the queue {self.job.queue}."
        )

    def history(self) -> Iterator[str]:
        """When the job is or was due, its counts, and how its attempts ended."""
        job = self.job
        if job.in_line_since and job.due_at > self.now:
            yield (
                f"It has stood in line for a place since {local_time(job.in_line_since)}, "
                f"and looks by itself at {local_time(job.due_at)}."
            )
        else:
            yield f"It {'is' if job.due_at > self.now else 'was'} due at {local_time(job.due_at)}."
        expires = job.envelope.get("headers", {}).get("expires")
        if expires:
            yield f"It expires at {expires}."
        yield (
            f"Rung again by the clock: {times(job.rings)}. Claimed: {times(job.attempts)}. "
            f"Lost without a verdict: {times(job.losses + job.shared_losses)}. "
            f"Told to try again: {times(job.retries)}."
        )
        yield from self.ends()

    def ends(self) -> Iterator[str]:
        """How the attempts ended that did not settle the job, the oldest first."""
        for entry in self.job.history:
            moment, error = datetime.fromisoformat(entry["at"]), entry["error"]
            who = self.name_of(UUID(entry["worker"])) if entry["worker"] else "nobody"
            ended = ENDS[entry["end"]].format(attempt=entry["attempt"], who=who)
            yield f"  {local_time(moment)}  {ended}: {error['type']}, {quoted(error['message'])}"
        if self.job.error not in [entry["error"] for entry in self.job.history]:
            yield from self.error()  # it is cut short in the history, or not there

    def name_of(self, worker: UUID) -> str:
        """The worker's name; its id if it has signed off."""
        name = Worker.objects.filter(pk=worker).values_list("name", flat=True).first()
        return f"worker {name or worker}"

    def error(self) -> Iterator[str]:
        """The newest error, if there is one."""
        error = self.job.error
        if error:
            yield f"Its newest error was {error['type']}: {quoted(error['message'])}."

    def traceback(self) -> Iterator[str]:
        """The traceback of the error that a dead job died of, with control characters escaped."""
        trace = (self.job.error or {}).get("traceback")
        if self.job.state == State.DEAD and trace:
            yield "\n" + CONTROLS.sub(lambda control: f"\\x{ord(control[0]):02x}", trace.rstrip())

    def holder(self) -> Iterator[str]:
        """Which process runs the job, and whether it still lives."""
        job = self.job
        if job.state != State.RUNNING:
            return
        name = self.name_of(job.worker) if job.worker else "a worker without a name"
        yield (
            f"Process {job.pid} of {name} has held it since {local_time(job.started_at)} "
            f"and may until {local_time(job.lease_until)}."
        )
        if job.lease_until and job.lease_until < self.now:
            yield "Its lease has run out: the clock of a living worker gives it back."
        elif job.worker and not Worker.objects.living().filter(pk=job.worker).exists():
            yield "That worker is silent: the clock of a living one gives the job back."

    def outcome(self) -> Iterator[str]:
        """How a job that is over ended."""
        ended = f"at {local_time(self.job.finished_at)}"
        match self.job.state:
            case State.DONE:
                yield f"It was done {ended} and came to {self.result or 'nothing'}."
                if self.job.effects:
                    yield f"It wrote {', '.join(self.job.effects)}."
            case State.DEAD:
                yield (
                    f"It died {ended}; `manage.py jobs retry {self.job.pk}` retries it, "
                    "and `jobs cancel` puts it aside."
                )
            case State.CANCELLED:
                yield f"It was cancelled {ended}."

    def children(self) -> Iterator[str]:
        """The jobs that the job has promised, WHY_CHILDREN_MAX of them."""
        children = Job.objects.filter(parent_id=self.job.pk).order_by("created_at", "pk")
        number = children.count()
        if number:
            yield f"It led to {'one job' if number == 1 else f'{number} jobs'}:"
        rows = children.values_list("pk", "task", "state")
        for id_, task, state in rows[: ledger_settings.WHY_CHILDREN_MAX]:
            yield f"  {task} {id_}, {state}"


def explain(job_id: UUID) -> str | None:
    """What has become of this job, one sentence a line; None if there is no such job."""
    rows = Job.objects.defer("args", "result").annotate(
        now=Now(), result_text=Cast("result", TextField())
    )
    job = rows.filter(pk=job_id).first()
    return "\n".join(Story(job).sentences()) if job else None


def reasons(job: Job, now: datetime, app: Celery) -> Iterator[str]:
    """Every reason why this waiting job does not run at the moment `now`, each the end of a
    sentence.
    """
    app.loader.import_default_modules()
    stuck = False
    if job.task not in app.tasks:
        stuck = True
        yield f"this release knows no task {job.task}; it waits for a release that does."
    if job.queue not in app.amqp.queues.consume_from:
        stuck = True
        yield f"no worker of this release listens to the queue {job.queue}."
    if job.due_at > now:
        yield from _later(job, app)
        return
    in_the_way = [*_pauses(job), *_no_place(job, app)]
    stuck = stuck or bool(in_the_way)
    yield from in_the_way
    if not Worker.objects.living().exists():
        stuck = True
        yield f"no worker has beaten in the last {ledger_settings.WORKER_SILENCE_S} s: start one."
    in_threads = job.task in threaded_tasks(app)
    if not in_threads and not app.amqp.bell.answers():
        stuck = True
        yield "the broker does not answer: its bell cannot be heard until it does."
    if not stuck and job.queue in unheard():
        yield (
            f"no worker begins what is due in the queue {job.queue}, and one is idle: "
            "it cures itself within a minute, and its log says how."
        )
    elif not stuck:
        yield _threads(job) if in_threads else _bell(job, now)


def _pauses(job: Job) -> list[str]:
    """A reason for each pause of the job's queue and task."""
    return [_paused(pause) for pause in Pause.objects.of(job)]


def _paused(pause: Pause) -> str:
    note = f": {quoted(pause.note)}" if pause.note else ""
    return f"the {pause} is paused by {pause.by} since {local_time(pause.at)}{note}."


def _later(job: Job, app: Celery) -> list[str]:
    """The reasons of a job that is not due yet."""
    if not job.in_line_since:
        return [f"it is not due until {local_time(job.due_at)}."]
    has_place = f"it has not seen yet that {name_of(job.concurrency_key or '')} has a place."
    return [*_pauses(job), *(_no_place(job, app) or [has_place])]


def _no_place(job: Job, app: Celery) -> list[str]:
    """A reason, if every place of the job's key is taken; else none."""
    task, key = app.tasks.get(job.task), job.concurrency_key
    if key is None or task is None or not task.concurrency:
        return []
    number = Job.objects.filter(state=State.RUNNING, concurrency_key=key).count()
    if number < places_of(task):
        return []
    verb = "is" if number == 1 else "are"
    return [f"{number} of {name_of(key)} {verb} running, as many as may."]


def _threads(job: Job) -> str:
    """The reason of a job that threads will begin."""
    calls = Job.objects.filter(state=State.RUNNING, task=job.task).count()
    return (
        "the threads of a worker begin it when it is its owner's turn and they have room "
        f"(jobs of this task running: {calls}; calls of a worker: {ledger_settings.THREADS_MAX})."
    )


def _bell(job: Job, now: datetime) -> str:
    """The reason of a due job with nothing in its way: how far its bell has come."""
    busy = f"jobs running: {Job.objects.filter(state=State.RUNNING).count()}"
    if job.ring_at <= now:
        return f"the clock is about to ring for it, when its queue has room ({busy})."
    if job.rings:
        return (
            f"nobody has heard its bell yet ({busy}); "
            f"the clock rings again at {local_time(job.ring_at)}."
        )
    return (
        f"its bell is on its way ({busy}); unheard, the clock rings at {local_time(job.ring_at)}."
    )


def times(number: int) -> str:
    """How often: never, once, twice, 3 times."""
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def quoted(text: str) -> str:
    """The text in quotation marks on one line, with anything else in it escaped as in JSON."""
    return json.dumps(text, ensure_ascii=False)

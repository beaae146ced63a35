"""What the ledger holds, as text for a person: counts, lists and single rows. Times are in
settings.TIME_ZONE.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Count, F, JSONField, Q, Sum, TextField
from django.db.models.functions import Cast, Coalesce, Now
from django.utils import timezone

from celery_ledger.models import Job, JobQuerySet, State, Worker
from celery_ledger.operations.unheard import unheard

Row = Sequence[str]
COLUMNS = [field.name for field in Job._meta.concrete_fields]
DOCUMENTS = [field.name for field in Job._meta.concrete_fields if isinstance(field, JSONField)]
COLUMNS_LISTED = [name for name in COLUMNS if name not in DOCUMENTS or name == "error"]
Counted = tuple[str, str, int, int]  # task, state, rows, losses


def local_time(moment: datetime | None) -> str:
    """A time to the second, with its zone."""
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S %Z") if moment else "-"


def lasting(span: timedelta) -> str:
    """A length of time in its two largest units: 2 d 3 h, 5 min 20 s, 3 s."""
    seconds = max(0, int(span.total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def table(rows: Sequence[Row], *, numbers_from: int | None = None) -> str:
    """Aligned columns; those from `numbers_from` on are flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first_number = len(widths) if numbers_from is None else numbers_from
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place >= first_number else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def stats() -> str:
    """Counts by task and state, what waits, what was lost, who works."""
    counted = _counted()
    parts = [_counts(counted), _oldest_due(), *_unheard(), _losses(counted), _workers()]
    return "\n\n".join(parts)


def stats_as_json() -> str:
    """The same as one JSON object."""
    counted = _counted()
    tasks: dict[str, dict[str, int]] = {}
    for task, state, number, _ in counted:
        tasks.setdefault(task, {})[state] = number
    due = Job.objects.filter(state=State.WAITING, due_at__lte=Now()).order_by("due_at")
    workers = Worker.objects.living().order_by("name")
    facts = {
        "tasks": tasks,
        "unheard_seconds": {queue: age.total_seconds() for queue, age in unheard().items()},
        "oldest_due": due.values("id", "task", "due_at").first(),
        "losses_last_hour": sum(lost for *_, lost in counted),
        "workers": list(workers.values("name", "pid", "started_at", "seen_at")),
    }
    return json.dumps(facts, cls=DjangoJSONEncoder, ensure_ascii=False)


def _counted() -> list[Counted]:
    """The one reading of the whole table: per task and state how many rows, and what those claimed
    lately have lost.

    A row keeps no time of its losses; one of a job claimed within the hour is at most a lease older
    than that.
    """
    lately = Q(started_at__gt=Now() - timedelta(hours=1))
    return list(
        Job.objects.values_list("task", "state")
        .annotate(
            Count("pk"), lost=Coalesce(Sum(F("losses") + F("shared_losses"), filter=lately), 0)
        )
        .order_by("task")
    )


def _counts(counted: list[Counted]) -> str:
    counts: dict[str, dict[str, int]] = {"all tasks": dict.fromkeys(State.values, 0)}
    for task, state, number, _ in counted:
        counts.setdefault(task, dict.fromkeys(State.values, 0))[state] = number
        counts["all tasks"][state] += number
    rows = [("TASK", *(state.upper() for state in State.values))]
    rows += [
        (task, *(str(states[state]) for state in State.values)) for task, states in counts.items()
    ]
    return table(rows, numbers_from=1)


def _oldest_due() -> str:
    due = Job.objects.filter(state=State.WAITING, due_at__lte=Now()).order_by("due_at")
    oldest = due.values_list("due_at", Now(), "task", "pk").first()
    if oldest is None:
        return "No due job is waiting."
    due_at, now, task, id_ = oldest
    return f"The oldest due job has waited for {lasting(now - due_at)}: {task} {id_}"


def _unheard() -> list[str]:
    return [
        f"Due but unheard in {queue}, beside an idle worker: for {lasting(age)}"
        for queue, age in unheard().items()
    ]


def _losses(counted: list[Counted]) -> str:
    return f"Losses in the last hour: {sum(lost for *_, lost in counted)}"


def _workers() -> str:
    living = (
        Worker.objects.living()
        .order_by("name")
        .values_list("name", "pid", "started_at", "seen_at", Now())
    )
    if not living:
        return "No worker is alive."
    rows = [("WORKER ALIVE", "PID", "SINCE", "LAST BEAT")]
    rows += [
        (name, str(pid), local_time(started_at), f"{lasting(now - seen_at)} ago")
        for name, pid, started_at, seen_at, now in living
    ]
    return table(rows)


def listing(jobs: JobQuerySet, *, limit: int) -> str:
    """The newest of these jobs, one line each."""
    rows: list[Row] = [("ID", "STATE", "TASK", "CREATED", "DUE", "ATTEMPTS", "ERROR")]
    rows += [_row(job) for job in _newest(jobs, limit)]
    return table(rows) if len(rows) > 1 else "No such jobs."


def lines_of_json(jobs: JobQuerySet, *, limit: int) -> str:
    """The newest of these jobs, a JSON object a line: the columns but the large ones."""
    return "\n".join(
        json.dumps(
            {name: getattr(job, name) for name in COLUMNS_LISTED},
            cls=DjangoJSONEncoder,
            ensure_ascii=False,
        )
        for job in _newest(jobs, limit)
    )


def _newest(jobs: JobQuerySet, limit: int) -> JobQuerySet:
    return jobs.order_by("-created_at", "-pk").defer("args", "envelope", "result")[:limit]


def _row(job: Job) -> tuple[str, ...]:
    times = local_time(job.created_at), local_time(job.due_at)
    return (str(job.pk), job.state, job.task, *times, str(job.attempts), error_type(job))


def error_type(job: Job) -> str:
    return str((job.error or {}).get("type", "-"))


def sheet(job_id: UUID) -> str | None:
    """Every column of one job; JSON as it is stored, so that a row which cannot be decoded can be
    read too.
    """
    row = _row_as_text(job_id)
    return table([(name, _cell(value)) for name, value in row.items()]) if row else None


def sheet_as_json(job_id: UUID) -> str | None:
    """Every column as one JSON object."""
    row = _row_as_text(job_id)
    if row is None:
        return None
    facts = {
        name: json.loads(value) if name in DOCUMENTS and value is not None else value
        for name, value in row.items()
    }
    return json.dumps(facts, cls=DjangoJSONEncoder, ensure_ascii=False)


def _row_as_text(job_id: UUID) -> dict[str, Any] | None:
    as_text = {f"{name}_text": Cast(name, TextField()) for name in DOCUMENTS}
    plain = [name for name in COLUMNS if name not in DOCUMENTS]
    row = Job.objects.filter(pk=job_id).values(*plain, **as_text).first()
    return row and {name: row[f"{name}_text" if name in DOCUMENTS else name] for name in COLUMNS}


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return local_time(value)
    return "-" if value in (None, "") else str(value)

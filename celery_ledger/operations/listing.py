"""Writes lists of jobs and single jobs as text or JSON. Times are in settings.TIME_ZONE."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import JSONField, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from celery_ledger.models import Job, JobQuerySet

Row = Sequence[str]
COLUMNS = [field.name for field in Job._meta.concrete_fields]
DOCUMENTS = [field.name for field in Job._meta.concrete_fields if isinstance(field, JSONField)]
COLUMNS_LISTED = [name for name in COLUMNS if name not in DOCUMENTS or name == "error"]


def local_time(moment: datetime | None) -> str:
    """The moment to the second, with its zone; "-" for None."""
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S %Z") if moment else "-"


def lasting(span: timedelta) -> str:
    """The length of time in its two largest units: 2 d 3 h, 5 min 20 s, 3 s."""
    seconds = max(0, int(span.total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def table(rows: Sequence[Row], *, numbers_from: int | None = None) -> str:
    """These rows in aligned columns; those from index `numbers_from` on are aligned to the
    right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first_number = len(widths) if numbers_from is None else numbers_from

    def aligned(row: Row) -> str:
        cells = [
            cell.rjust(width) if index >= first_number else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join(aligned(row) for row in rows)


def listing(jobs: JobQuerySet, *, limit: int) -> str:
    """The newest of these jobs, one line each, or a sentence if there is none."""
    rows: list[Row] = [("ID", "STATE", "TASK", "CREATED", "DUE", "ATTEMPTS", "ERROR")]
    rows += [_row(job) for job in _newest(jobs, limit)]
    return table(rows) if len(rows) > 1 else "No such jobs."


def lines_of_json(jobs: JobQuerySet, *, limit: int) -> str:
    """The newest of these jobs, one JSON object a line, of the columns but the large ones."""
    rows = [{name: getattr(job, name) for name in COLUMNS_LISTED} for job in _newest(jobs, limit)]
    return "\n".join(_json(row) for row in rows)


def _newest(jobs: JobQuerySet, limit: int) -> JobQuerySet:
    return jobs.order_by("-created_at", "-pk").defer("args", "envelope", "result")[:limit]


def _row(job: Job) -> tuple[str, ...]:
    times = local_time(job.created_at), local_time(job.due_at)
    return (str(job.pk), job.state, job.task, *times, str(job.attempts), error_type(job))


def error_type(job: Job) -> str:
    """The class of the job's newest error; "-" if it has none."""
    return str((job.error or {}).get("type", "-"))


def sheet(job_id: UUID) -> str | None:
    """Every column of this job, one a line; None if there is no such job. JSON is shown as it is
    stored, so that a row which cannot be decoded can be read too.
    """
    row = _row_as_text(job_id)
    return table([(name, _cell(value)) for name, value in row.items()]) if row else None


def sheet_as_json(job_id: UUID) -> str | None:
    """Every column of this job as one JSON object; None if there is no such job."""
    row = _row_as_text(job_id)
    if row is None:
        return None
    facts = {
        name: json.loads(value) if name in DOCUMENTS and value is not None else value
        for name, value in row.items()
    }
    return _json(facts)


def _json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, cls=DjangoJSONEncoder, ensure_ascii=False)


def _row_as_text(job_id: UUID) -> dict[str, Any] | None:
    """The columns of this job by name, those of JSON as texts."""
    as_text = {f"{name}_text": Cast(name, TextField()) for name in DOCUMENTS}
    plain = [name for name in COLUMNS if name not in DOCUMENTS]
    row = Job.objects.filter(pk=job_id).values(*plain, **as_text).first()
    return row and {name: row[f"{name}_text" if name in DOCUMENTS else name] for name in COLUMNS}


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return local_time(value)
    return "-" if value in (None, "") else str(value)

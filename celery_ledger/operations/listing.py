"""Lists and single rows of the ledger, as text for a person. Times are in settings.TIME_ZONE."""

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

    def aligned(place: int, cell: str) -> str:
        width = widths[place]
        return cell.rjust(width) if place >= first_number else cell.ljust(width)

    lines = ("  ".join(aligned(place, cell) for place, cell in enumerate(row)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


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

"""GET /v1/jobs/{id}: how far a piece of promised work is."""

import json
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from kombu.utils.json import dumps
from ninja import Router

from jobs.models import Job

router = Router(tags=["jobs"])


@router.get("/{uuid:job_id}", summary="Read a job")
def read_job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """A client sees the jobs that its own requests led to, and the house's own: those that no request led to."""
    auth: Any = request.auth  # type: ignore[attr-defined]
    auth.require("jobs:read")
    visible = Q(context__client=str(auth.client_id)) | ~Q(context__has_key="client")
    job = Job.objects.filter(visible, pk=job_id).first()
    if job is None:
        raise Http404
    return HttpResponse(dumps(shown(job)), content_type="application/json")


def shown(job: Job) -> dict[str, Any]:
    """A job as the API shows it; its arguments stay inside."""
    return {
        "id": str(job.pk), "task": job.task, "queue": job.queue, "state": job.state, "attempts": job.attempts,
        "due_at": job.due_at.isoformat(), "created_at": job.created_at.isoformat(),
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "result": json.loads(dumps(job.result)), "error": job.error,
    }  # fmt: skip

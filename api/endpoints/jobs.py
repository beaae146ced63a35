"""/v1/jobs: how far promised work is, and a client's say in its own."""

from typing import Annotated
from uuid import UUID

from django.db.models import Q
from django.http import Http404, HttpResponse
from ninja import Router
from pydantic import Field

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.paging import AfterMoment, Limit, moment_and_id, moment_of
from api.shapes.headers import scoped
from api.shapes.responses import jobs as shapes
from celery_ledger import Job, JobQuerySet, State, interventions, owned
from values.refused import Refused
from values.texts import WITHOUT_NUL, Matching

router = Router(tags=["jobs"])

TaskName = Annotated[
    str, Field(max_length=200), Matching(WITHOUT_NUL, "must not hold a NUL character")
]


NOT_YOURS = "is not cancelled by a client: something would be left undone. Ask the shop's operator."


@router.get(
    "",
    summary="List jobs, newest first",
    response=shapes.JobPage,
    openapi_extra=scoped("jobs:read"),
)
def list_jobs(
    request: AuthenticatedRequest,
    state: shapes.JobState | None = None,
    task: TaskName | None = None,
    limit: Limit = 20,
    after: AfterMoment | None = None,
) -> HttpResponse:
    """`next` of a page is the `after` of the following one; null on the last."""
    narrowed = Q() if task is None else Q(task=task)
    if after is not None:
        created_at, id_ = moment_and_id(after)
        narrowed &= Q(created_at__lt=created_at) | Q(created_at=created_at, pk__lt=id_)
    jobs = owned.newest(str(request.auth.client_id), narrowed, state=state, limit=limit + 1)
    return answer(shapes.JobPage.of(jobs, shapes.Job.of, limit=limit, cursor=moment_of))


@router.get(
    "/{uuid:job_id}", summary="Read a job", response=shapes.Job, openapi_extra=scoped("jobs:read")
)
def read_job(request: AuthenticatedRequest, job_id: UUID) -> HttpResponse:
    job = owned.visible_to(str(request.auth.client_id)).filter(pk=job_id).first()
    if job is None:
        raise Http404
    return answer(shapes.Job.of(job))


@router.post(
    "/{uuid:job_id}/retry",
    summary="Retry a dead or cancelled job",
    response=shapes.Job,
    openapi_extra=scoped("jobs:write", conflict="The job is neither dead nor cancelled."),
)
def retry_job(request: AuthenticatedRequest, job_id: UUID) -> HttpResponse:
    jobs, me = _own(request, job_id)
    changed = interventions.retry(jobs, by=me)
    return _after(jobs, changed, interventions.WHY_NOT_RETRIED)


@router.post(
    "/{uuid:job_id}/cancel",
    summary="Cancel a waiting job",
    response=shapes.Job,
    openapi_extra=scoped(
        "jobs:write",
        conflict="The job does not wait any more, or something would be lost without it.",
    ),
)
def cancel_job(request: AuthenticatedRequest, job_id: UUID) -> HttpResponse:
    """Only where nothing is lost by it: a step of an order, which goes on hold, a webhook, a part
    of an import.
    """
    jobs, me = _own(request, job_id)
    job = jobs.first()
    if job is not None and job.state == State.WAITING and not interventions.is_cancellable(job):
        raise Refused("job-not-changeable", f"Job {job.pk} ({job.task}) {NOT_YOURS}")
    changed = interventions.cancel(jobs.filter(task__in=interventions.cancellable_tasks()), by=me)
    return _after(jobs, changed, interventions.WHY_NOT_CANCELLED)


def _own(request: AuthenticatedRequest, job_id: UUID) -> tuple[JobQuerySet, str]:
    """The job, if this client's own request led to it, and the client's name for the log."""
    client_id = request.auth.client_id
    return Job.objects.filter(owner=str(client_id), pk=job_id), f"client {client_id}"


def _after(jobs: JobQuerySet, changed: list[Job], why_not: dict[State, str]) -> HttpResponse:
    job = jobs.first()
    if job is None:
        raise Http404
    if not changed:
        raise Refused("job-not-changeable", interventions.refusal(job, why_not))
    return answer(shapes.Job.of(job))

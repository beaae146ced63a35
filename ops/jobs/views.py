"""Jobs over HTTP."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from celery_ledger import Job, interventions, story_of
from ops.access import LOOK, OPERATE, may_operate, staff_page


@require_safe
@staff_page(LOOK)
def job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """The story of one job, as `manage.py jobs why` tells it."""
    row = get_object_or_404(Job, pk=job_id)
    seen = {
        "job": row,
        "story": (story_of(job_id) or "").splitlines(),
        "may_retry": may_operate(request) and row.state in ("dead", "cancelled"),
        "here": "jobs",
    }
    return render(request, "ops/jobs/job.html", seen)


@require_POST
@staff_page(OPERATE)
def retry_job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Twice comes to once: a job that waits again is left alone, and that is said."""
    row = get_object_or_404(Job, pk=job_id)
    by = request.user.get_username()
    if interventions.retry(Job.objects.filter(pk=job_id), by=by):
        messages.success(request, _("It is tried again."))
    else:
        messages.warning(request, interventions.refusal(row, interventions.WHY_NOT_RETRIED))
    return redirect("ops:job", job_id)


@require_safe
@staff_page(LOOK)
def jobs(request: HttpRequest) -> HttpResponse:
    rows = Job.objects.filter(state="dead").order_by("-created_at")[:50]
    return render(request, "ops/jobs/jobs.html", {"jobs": rows, "here": "jobs"})

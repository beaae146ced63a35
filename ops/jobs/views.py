"""Jobs over HTTP: the list, one job, and all of a filter."""

from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from celery_ledger import Job, State, explain, interventions
from ops import tasks
from ops.access import LOOK, OPERATE, may_operate, staff_page
from ops.jobs import batches
from ops.jobs import queues as standing
from ops.jobs.choosing import Place, newest
from ops.jobs.forms import ChosenForm, PauseForm, known_tasks
from ops.jobs.life import life_of
from ops.jobs.verbs import ON_QUEUES, VERBS, Verb, fitting, perform, perform_on_queue
from ops.models import JobBatch
from ops.places import place
from ops.templatetags.words import verb as word_of

POLL_S = 2  # of a batch, by a browser
BATCHES_SHOWN = 5


@require_safe
@staff_page(LOOK)
def jobs(request: HttpRequest) -> HttpResponse:
    """The list, by a filter; `after` is where the page before ended. Without a filter it holds the
    dead jobs, since they need a person.
    """
    form = ChosenForm(request.GET if "state" in request.GET else {"state": State.DEAD})
    seen: dict[str, Any] = {"form": form, "tasks": known_tasks(), "here": "jobs"}
    if form.is_valid():
        chosen = form.chosen
        found = newest(chosen, place(request, "after", Place.read))
        asked = urlencode({"state": "", **chosen.fields})
        seen |= {"found": found, "asked": asked, "may_operate": may_operate(request)}
        seen["verbs"] = fitting(chosen.state) if found.jobs else {}
        seen["next"] = found.place and found.place.written()
    asked_for = JobBatch.objects.order_by("-at")[:BATCHES_SHOWN]
    seen["batches"] = [(VERBS[row.verb].word, row) for row in asked_for]
    return render(request, "ops/jobs/jobs.html", seen, status=200 if form.is_valid() else 422)


@require_safe
@staff_page(LOOK)
def job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """One job's life, and its story as `manage.py jobs why` tells it."""
    row = get_object_or_404(Job.objects.annotate(now=Now()), pk=job_id)
    seen = {
        "job": row,
        "life": life_of(row),
        "explanation": (explain(job_id) or "").splitlines(),
        "verbs": _verbs_of(row) if may_operate(request) else {},
        "here": "jobs",
    }
    return render(request, "ops/jobs/job.html", seen)


@require_POST
@staff_page(OPERATE)
def act_on_job(request: HttpRequest, job_id: UUID, verb: str) -> HttpResponse:
    """A job that is no longer in a state for it is left alone, and a message says so."""
    row = get_object_or_404(Job, pk=job_id)
    if verb not in VERBS:
        return render(request, "404.html", status=404)
    if perform(row, verb, by=request.user):
        messages.success(request, _("Done: %(verb)s.") % {"verb": VERBS[verb].word})
    else:
        row.refresh_from_db()
        messages.warning(request, interventions.refusal(row, VERBS[verb].why_not))
    return redirect("ops:job", job_id)


@staff_page(OPERATE)
def act_on_all(request: HttpRequest, verb: str) -> HttpResponse:
    """GET counts the jobs of a filter, POST has the verb done to all of them."""
    posts = request.method == "POST"
    form = ChosenForm(request.POST if posts else request.GET)
    if verb not in VERBS:
        return render(request, "404.html", status=404)
    if not form.is_valid() or form.chosen.state not in VERBS[verb].states:
        messages.warning(request, _("Choose the jobs first, in a state that this can be done to."))
        return redirect("ops:jobs")
    if posts and (id_ := _id_of(request.POST.get("batch", ""))):
        batch = tasks.begin(id_, verb, form.chosen, by=request.user)
        return redirect("ops:batch", batch.pk)
    count, more = batches.counted(form.chosen, until=timezone.now())
    seen = {"verb": VERBS[verb], "chosen": form.chosen.fields, "count": count, "more": more}
    seen |= {"batch": uuid4(), "asked": urlencode(form.chosen.fields), "here": "jobs"}
    return render(request, "ops/jobs/all.html", seen)


@require_safe
@staff_page(LOOK)
def batch(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    """How far a batch has come. htmx asks for the changing part until it has ended."""
    row = get_object_or_404(JobBatch, pk=batch_id)
    page = "progress" if request.headers.get("HX-Request") else "batch"
    seen = {"batch": row, "verb": VERBS[row.verb], "poll_s": POLL_S, "here": "jobs"}
    seen["may_stop"] = may_operate(request) and row.ended_at is None
    return render(request, f"ops/jobs/{page}.html", seen)


@require_POST
@staff_page(OPERATE)
def stop_batch(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    get_object_or_404(JobBatch, pk=batch_id)
    if batches.stop(batch_id, by=request.user):
        messages.success(request, _("It is stopped. What is done stays done."))
    else:
        messages.warning(request, _("It had ended already."))
    return redirect("ops:batch", batch_id)


@require_safe
@staff_page(LOOK)
def queues(request: HttpRequest) -> HttpResponse:
    """What waits in each queue, what is paused, and what comes by the clock."""
    seen = {
        "queues": standing.queues(),
        "paused_tasks": standing.paused_tasks(),
        "entries": standing.entries(),
        "tasks": known_tasks(),
        "may_operate": may_operate(request),
        "here": "queues",
    }
    return render(request, "ops/jobs/queues.html", seen)


@require_POST
@staff_page(OPERATE)
def act_on_queues(request: HttpRequest, verb: str) -> HttpResponse:
    """Pause, resume, or run an entry of the schedule now."""
    form = PauseForm(request.POST)
    if verb not in ON_QUEUES:
        return render(request, "404.html", status=404)
    if not form.is_valid():
        messages.warning(request, " ".join(form.sentences))
    elif perform_on_queue(verb, form.cleaned_data, by=request.user):
        messages.success(request, _("Done: %(verb)s.") % {"verb": word_of(f"queue_{verb}")})
    else:
        messages.warning(request, _("Somebody was faster: it is so already."))
    return redirect("ops:queues")


def _verbs_of(row: Job) -> dict[str, Verb]:
    """The verbs that can be done to it as it is now."""
    verbs = {} if row.unreachable else fitting(row.state)
    if row.state == State.WAITING and row.due_at <= row.now:  # type: ignore[attr-defined]
        verbs.pop("run_now", None)
    return verbs


def _id_of(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

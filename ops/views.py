"""The staff pages over HTTP: the belt, the orders, one order and what is done to it, one job."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from celery_ledger import Job, interventions, story_of
from notifications import events
from notifications.models import Delivery
from ops import belt as belts
from ops import verbs
from ops.access import LOOK, OPERATE, staff_page
from ops.finding import found
from ops.models import StaffAction
from ops.timeline import jobs_of, timeline
from ops.verbs import VERBS, Overtaken, perform, rehearse
from ops.why import why
from orders.models import Order
from orders.way import steps
from values.refused import Refused

WORDS = {
    "received": gettext_lazy("Received"),
    "reserved": gettext_lazy("Set aside"),
    "paid": gettext_lazy("Payment"),
    "confirmed": gettext_lazy("Confirmed"),
    "completed": gettext_lazy("Delivery"),
}
POLL_S = 5  # of the belt, by a browser


@require_safe
@staff_page(LOOK)
def belt(request: HttpRequest) -> HttpResponse:
    """What needs a person, and whether the belt moves. htmx asks for the changing part."""
    page = "ops/belt_now.html" if request.headers.get("HX-Request") else "ops/belt.html"
    return render(request, page, {"belt": belts.now(), "poll_s": POLL_S, "here": "belt"})


@require_safe
@staff_page(LOOK)
def orders(request: HttpRequest) -> HttpResponse:
    """One search box: whatever stands on a parcel, in a mail or in a log line."""
    term = request.GET.get("q", "").strip()[: settings.OPS_TERM_MAX]
    hits = found(term, held="held" in request.GET)
    if hits.job:
        return redirect("ops:job", hits.job)
    if term and len(hits.orders) == 1:
        return redirect("ops:order", hits.orders[0].pk)
    return render(request, "ops/orders.html", {"term": term, "hits": hits, "here": "orders"})


@require_safe
@staff_page(LOOK)
def order(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """One order on one line of time, and why it is not further."""
    order = get_object_or_404(Order.objects.select_related("client"), pk=order_id)
    news = list(events.timeline(order.pk))
    jobs = jobs_of(order, news)
    moments = {event.kind: event.at for event in news}
    seen = {
        "order": order,
        "why": why(order, jobs),
        "belt": [(WORDS[step.slug], step) for step in steps(order, moments)],
        "timeline": timeline(order, news, jobs),
        "verbs": {slug: verb for slug, verb in VERBS.items() if verb.may(order)},
        "may_operate": _may_operate(request),
        "here": "orders",
        "zone": timezone.get_current_timezone_name(),
    }
    return render(request, "ops/order.html", seen)


@staff_page(OPERATE)
def act(request: HttpRequest, order_id: UUID, slug: str) -> HttpResponse:
    """GET says what it comes to, POST does it; with `look` it says what it comes to as the form
    stands.
    """
    order = get_object_or_404(Order, pk=order_id)
    if slug not in VERBS:
        return render(request, "404.html", status=404)
    posts = request.method == "POST"
    form = VERBS[slug].form(order, request.POST if posts else None)
    if not posts or "look" in request.POST:
        return _asked(request, order, slug, form)
    version = request.POST.get("version", "")
    try:
        if form.is_valid():
            perform(order.pk, slug, form.cleaned_data, version=version, by=_user(request))
            messages.success(request, _("Done: %(verb)s.") % {"verb": VERBS[slug].word})
            return redirect("ops:order", order.pk)
    except Overtaken:
        version = ""
    except Refused as problem:
        form.add_error(None, _said(problem))
    return _asked(request, order, slug, form, overtaken=version != str(order.version))


@require_POST
@staff_page(OPERATE)
def send_again(request: HttpRequest, delivery_id: UUID) -> HttpResponse:
    """Twice comes to once: what is on its way already is left alone, and that is said."""
    delivery = get_object_or_404(Delivery.objects.select_related("event"), pk=delivery_id)
    order = get_object_or_404(Order, pk=delivery.event.subject)  # what else is told has no page
    if verbs.send_again(delivery_id, by=_user(request)):
        messages.success(request, _("It is sent again."))
    else:
        messages.warning(request, _("It is on its way already, or has nowhere to go."))
    return redirect("ops:order", order.pk)


@require_safe
@staff_page(LOOK)
def job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """The story of one job, as `manage.py jobs why` tells it."""
    row = get_object_or_404(Job, pk=job_id)
    seen = {
        "job": row,
        "story": (story_of(job_id) or "").splitlines(),
        "may_retry": _may_operate(request) and row.state in ("dead", "cancelled"),
        "here": "jobs",
    }
    return render(request, "ops/job.html", seen)


@require_POST
@staff_page(OPERATE)
def retry_job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Twice comes to once: a job that waits again is left alone, and that is said."""
    row = get_object_or_404(Job, pk=job_id)
    by = _user(request).get_username()
    if interventions.retry(Job.objects.filter(pk=job_id), by=by):
        messages.success(request, _("It is tried again."))
    else:
        messages.warning(request, interventions.refusal(row, interventions.WHY_NOT_RETRIED))
    return redirect("ops:job", job_id)


def _asked(
    request: HttpRequest, order: Order, slug: str, form: Any, *, overtaken: bool = False
) -> HttpResponse:
    """The page that asks once, with what it would come to now."""
    if overtaken:  # by whatever the order is now
        order.refresh_from_db()
        form = VERBS[slug].form(order)
    seen: dict[str, Any] = {"order": order, "verb": VERBS[slug], "form": form, "here": "orders"}
    said = form.cleaned_data if form.is_valid() else form.first_answers()
    try:
        seen["outcome"] = rehearse(order.pk, VERBS[slug], said)
    except Overtaken:
        seen["beyond"] = True
    except Refused as problem:
        seen["refusal"] = _said(problem)
    if overtaken:
        seen["last"] = StaffAction.of(order.pk).last()
        seen["overtaken"] = True
    status = 409 if overtaken else 422 if form.errors else 200
    return render(request, "ops/act.html", seen, status=status)


def _said(problem: Refused) -> str:
    return "; ".join(message for _pointer, message in problem.errors) or problem.detail


def _may_operate(request: HttpRequest) -> bool:
    return bool(_user(request).has_perm(OPERATE))


def _user(request: HttpRequest) -> Any:
    return request.user

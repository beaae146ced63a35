"""Orders over HTTP: the search, one order, and what is done to it."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from notifications import events
from ops.access import LOOK, OPERATE, may_operate, staff_page
from ops.models import StaffAction
from ops.orders.finding import found
from ops.orders.timeline import jobs_of, timeline
from ops.orders.verbs import VERBS, Overtaken, perform, rehearse
from ops.orders.why import why
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
    return render(request, "ops/orders/orders.html", {"term": term, "hits": hits, "here": "orders"})


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
        "may_operate": may_operate(request),
        "here": "orders",
        "zone": timezone.get_current_timezone_name(),
    }
    return render(request, "ops/orders/order.html", seen)


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
            perform(order.pk, slug, form.cleaned_data, version=version, by=request.user)
            messages.success(request, _("Done: %(verb)s.") % {"verb": VERBS[slug].word})
            return redirect("ops:order", order.pk)
    except Overtaken:
        version = ""
    except Refused as problem:
        form.add_error(None, _said(problem))
    return _asked(request, order, slug, form, overtaken=version != str(order.version))


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
    return render(request, "ops/orders/act.html", seen, status=status)


def _said(problem: Refused) -> str:
    return "; ".join(message for _pointer, message in problem.errors) or problem.detail

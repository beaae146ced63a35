"""Orders over HTTP: the list, one order, and what is done to it."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from celery_ledger import State as JobState
from notifications import events
from notifications.models import Suppression
from ops.access import LOOK, OPERATE, may_operate, staff_page
from ops.models import StaffAction
from ops.orders.acting import Busy, Deed, Overtaken, perform, rehearse
from ops.orders.exporting import begin_export
from ops.orders.filters import Filter
from ops.orders.finding import Search, found
from ops.orders.timeline import news_of, past_of
from ops.orders.verbs import VERBS
from ops.orders.why import why
from ops.refusals import sentence_of
from orders.models import Export, Order
from orders.way import KINDS, steps
from values.refused import Refused

OVERTAKEN, BUSY = "overtaken", "busy"
STATUS = {OVERTAKEN: 409, BUSY: 503}


@require_safe
@staff_page(LOOK)
def orders(request: HttpRequest) -> HttpResponse:
    """The list: filters, and one search box for whatever stands on a parcel, in a mail or a log."""
    form = Filter(request.GET)
    seen: dict[str, Any] = {"filter": form, "here": "orders", "may_operate": may_operate(request)}
    if not form.is_valid():
        return render(request, "ops/orders/orders.html", seen, status=422)
    before = form.cleaned_data["before"]
    hits = found(form.term, Search(form.filters, form.clients, before))
    if hits.job:
        return redirect("ops:job", hits.job)
    if form.term and len(hits.orders) == 1 and not (form.narrows or before or hits.older):
        return redirect("ops:order", hits.orders[0].pk)
    seen |= {"term": form.term, "hits": hits, "narrows": form.narrows, "before": before}
    seen |= {"query": form.link(), "older": hits.older and form.link(before=hits.older)}
    return render(request, "ops/orders/orders.html", seen)


@require_POST
@staff_page(OPERATE)
def export(request: HttpRequest) -> HttpResponse:
    """Begin an export of the orders that the list with this query holds, and lead to it; back to
    the list when that cannot be, with a message why.
    """
    form = Filter(request.GET)
    if not form.is_valid():
        raise Http404
    try:
        return redirect("ops:export", _begun(form, by=request.user).pk)
    except Refused as problem:
        messages.warning(request, sentence_of(problem))
    back = redirect("ops:orders")
    back["Location"] += f"?{form.link()}"
    return back


def _begun(form: Filter, *, by: Any) -> Export:
    """The export that is begun. Raises Refused, with a sentence for whoever pressed the button."""
    if len(form.clients) != 1:
        raise Refused("invalid", _("Choose a shop first: an export is of one."))
    way = found(form.term, Search(form.filters, form.clients)).way
    if form.term and not way:
        raise Refused("invalid", _("There is nothing to export."))
    return begin_export(form.clients[0], {**form.filters, **way}, by=by)


@require_safe
@staff_page(LOOK)
def order(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """One order on one line of time, and why it is not further."""
    order = get_object_or_404(Order.objects.select_related("client"), pk=order_id)
    news = news_of(order)
    past = past_of(order, news)
    way = events.timeline(order.pk).filter(kind__in=KINDS).order_by("-seq")[: settings.OPS_ROWS_MAX]
    seen = {
        "order": order,
        "unmailed": Suppression.objects.of(order.email),
        "why": why(order, past.jobs),
        "dead": [job for job in past.jobs if job.state == JobState.DEAD],
        "belt": steps(order, {event.kind: event.at for event in reversed(way)}),
        "timeline": past.entries,
        "left_out": past.left_out,
        "parcels": order.fulfilments.order_by("pk"),
        "returns": order.returns.select_related("refund__operation").order_by("pk"),
        "verbs": {slug: verb for slug, verb in VERBS.items() if not verb.parts and verb.may(order)},
        "may_operate": may_operate(request),
        "here": "orders",
        "zone": timezone.get_current_timezone_name(),
    }
    return render(request, "ops/orders/order.html", seen)


@staff_page(OPERATE)
def act(request: HttpRequest, order_id: UUID, slug: str, part: UUID | None = None) -> HttpResponse:
    """GET shows the form and what the verb would come to, POST does it; POST with `look` only shows
    what it would come to as the form stands.
    """
    order = get_object_or_404(Order.objects.select_related("client"), pk=order_id)
    verb = VERBS.get(slug)
    if verb is None or bool(verb.parts) != bool(part):
        return render(request, "404.html", status=404)
    try:
        target = Deed(slug, verb, {}, part).target(order)
    except Overtaken:
        return render(request, "404.html", status=404)
    posts = request.method == "POST"
    form = verb.form(target, request.POST if posts else None)
    if not posts or "look" in request.POST:
        return _asked(request, order, Deed(slug, verb, {}, part), form)
    return _pressed(request, order, Deed(slug, verb, {}, part), form)


def _pressed(request: HttpRequest, order: Order, deed: Deed, form: Any) -> HttpResponse:
    """The deed is done and leads to the order; else the page again, with what stood against it."""
    trouble, version = "", request.POST.get("version", "")
    try:
        if form.is_valid():
            done = Deed(deed.slug, deed.verb, form.cleaned_data, deed.part)
            perform(order, done, version=version, by=request.user)
            messages.success(request, _("Done: %(verb)s.") % {"verb": deed.verb.word})
            return redirect("ops:order", order.pk)
        if version != str(order.version) and not deed.verb.at_any_version:
            trouble = OVERTAKEN
    except Overtaken:
        trouble = OVERTAKEN
    except Busy:
        trouble = BUSY
    except Refused as problem:
        form.refuse(problem)
    return _asked(request, order, deed, form, trouble)


def _asked(
    request: HttpRequest, order: Order, deed: Deed, form: Any, trouble: str = ""
) -> HttpResponse:
    """The page with the form, and with what the verb would come to now."""
    seen: dict[str, Any] = {"order": order, "verb": deed.verb, "here": "orders"}
    if trouble == OVERTAKEN:  # the form is made anew, of the order as it is now and what was typed
        order.refresh_from_db()
        seen |= {"overtaken": True, "last": StaffAction.of(order.pk).last()}
    try:
        target = deed.target(order)
        form = deed.verb.form(target, request.POST) if trouble == OVERTAKEN else form
        entered = form.cleaned_data if form.is_valid() else form.first_answers()
        seen["outcome"] = rehearse(order, Deed(deed.slug, deed.verb, entered, deed.part))
    except Overtaken:
        seen["beyond"] = True
    except Busy:
        trouble = trouble or BUSY
    except Refused as problem:
        seen["refusal"] = sentence_of(problem)
    seen |= {"form": form, "busy": trouble == BUSY}
    status = STATUS.get(trouble, 422 if form.errors else 200)
    return render(request, "ops/orders/act.html", seen, status=status)

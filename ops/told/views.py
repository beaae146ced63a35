"""Who is told, over HTTP: endpoints and mails in trouble, deliveries by a filter, one of them with
each try, and sending again.
"""

import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.db.models import OuterRef, Prefetch, Subquery, prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware, localtime, now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from celery_ledger import Job
from notifications import webhooks
from notifications.models import Attempt, Delivery, Endpoint, Suppression
from ops.access import LOOK, OPERATE, may_operate, staff_page
from ops.orders.timeline import may_be_sent_again
from ops.places import place
from ops.told import verbs
from ops.told.finding import Page, Search, found
from ops.told.forms import EVERYTHING, FAILED, FindForm, RangeForm
from ops.told.health import in_trouble, well
from ops.told.mails import letter
from ops.told.verbs import Span, order_of
from orders.models import Client
from values.ids import uuid_in

MAILS_SHOWN = 10
POLL_S = 3  # of a delivery that is on its way, by a browser
MAIL = "mail"  # `whom` of a range, beside an endpoint's id


@require_safe
@staff_page(LOOK)
def overview(request: HttpRequest) -> HttpResponse:
    """Endpoints, those in trouble first, and the mails that were given up."""
    troubled, more_troubled = in_trouble(place(request, "troubled", UUID))
    others, older = well(place(request, "before", UUID))
    given_up = Delivery.State.FAILED
    mails = Search(channel=Delivery.Channel.MAIL, state=given_up, may_be_mailed=True)
    failed = found(mails, limit=MAILS_SHOWN)
    last = Attempt.objects.order_by("delivery_id", "-pk").distinct("delivery_id")
    prefetch_related_objects(failed.deliveries, Prefetch("attempts", last, to_attr="last_attempts"))
    seen = {
        "troubled": troubled,
        "more_troubled": more_troubled,
        "well": others,
        "older": older,
        "failed": failed,
        "form": FindForm(),
        "clients": _clients(),
        "may_operate": may_operate(request),
    }
    return render(request, "ops/told/told.html", {**seen, "here": "told"})


@require_safe
@staff_page(LOOK)
def deliveries(request: HttpRequest) -> HttpResponse:
    """The list, by a filter, the newest first; older ones with `before`."""
    form = FindForm(request.GET)
    before = request.GET.get("before", "")
    if before and uuid_in(before) is None:
        form.add_error(None, _("before: this is no place in the list."))
    page = found(form.search, uuid_in(before)) if form.is_valid() else Page([])
    asked = {name: request.GET[name] for name in form.fields if request.GET.get(name)}
    seen = {
        "form": form,
        "page": page,
        "rows": _with_clients(page.deliveries),
        "asked": urlencode(asked),
        "keep_days": settings.DELIVERY_KEEP.days,
        "clients": _clients(),
        "here": "told",
    }
    status = 422 if form.errors else 200
    return render(request, "ops/told/deliveries.html", seen, status=status)


@require_safe
@staff_page(LOOK)
def delivery(request: HttpRequest, delivery_id: UUID) -> HttpResponse:
    """One delivery: its payload, each try with the answer to it, and a mail as it is read."""
    due_at = Job.objects.filter(pk=OuterRef("job"), finished_at=None).values("due_at")
    rows = Delivery.objects.select_related("event", "endpoint")
    one = get_object_or_404(rows.annotate(next_try_at=Subquery(due_at)), pk=delivery_id)
    is_mail = one.channel == Delivery.Channel.MAIL
    listed = Suppression.objects.of(one.target) if is_mail else None
    waits = one.state == Delivery.State.WAITING
    seen: dict[str, Any] = {
        "delivery": one,
        "listed": listed,
        "attempts": one.attempts.order_by("-pk")[: settings.DELIVERY_ATTEMPTS_SHOWN],
        "has_job": one.job and Job.objects.filter(pk=one.job).exists(),
        "order": order_of(one.event),
        "client": one.event.owner and Client.objects.filter(pk=one.event.owner).first(),
        "payload": _payload(one),
        "ahead": waits and Delivery.objects.ahead_of(one),
        "may_send_again": may_operate(request) and may_be_sent_again(one) and not listed,
        "poll_s": POLL_S if one.resend or waits else None,
        "here": "told",
    }
    if one.channel != Delivery.Channel.WEBHOOK:
        seen |= letter(one.event, one.event.owner)
    return render(request, "ops/told/delivery.html", seen)


@require_POST
@staff_page(OPERATE)
def send_again(request: HttpRequest, delivery_id: UUID) -> HttpResponse:
    """A delivery that is on its way already is left alone, and a message says so. `back` leads to
    its order.
    """
    one = get_object_or_404(Delivery.objects.select_related("event"), pk=delivery_id)
    if verbs.send_again(delivery_id, by=request.user):
        messages.success(request, _("It is sent again."))
    else:
        messages.warning(request, _("It is on its way already, or has nowhere to go."))
    order = order_of(one.event) if request.POST.get("back") == "order" else None
    return redirect("ops:order", order.pk) if order else redirect("ops:delivery", delivery_id)


@staff_page(OPERATE)
def replay(request: HttpRequest) -> HttpResponse:
    """GET counts what of a range would be sent again, POST sends it."""
    query = request.POST if request.method == "POST" else request.GET
    whom = query.get("whom", "")
    endpoint = get_object_or_404(Endpoint, pk=uuid_in(whom)) if whom != MAIL else None
    form = RangeForm(query if "since" in query else None)
    seen: dict[str, Any] = {"form": form, "whom": whom, "endpoint": endpoint, "here": "told"}
    if not form.is_valid():
        return render(request, "ops/told/replay.html", seen, status=422 if form.errors else 200)
    span = _span(endpoint, form.cleaned_data)
    exactly = {"whom": whom, **_exactly(span)}
    if request.method == "POST":
        _say(request, *span.replay(by=request.user))
        return redirect(f"{request.path}?{urlencode(exactly)}")
    seen |= {"exactly": exactly, "span": span, **_counted(span)}
    seen["form"] = RangeForm(initial={name: _short(query.get(name, "")) for name in form.fields})
    return render(request, "ops/told/replay.html", seen)


def _span(endpoint: Endpoint | None, cleaned: dict[str, Any]) -> Span:
    """What a RangeForm means; without an end it ends now."""
    until = cleaned["until"] or now()
    return Span(endpoint, cleaned["since"], until, cleaned["what"] == EVERYTHING)


def _exactly(span: Span) -> dict[str, str]:
    """The fields of a RangeForm that mean this very span, however late it is sent."""
    return {
        "since": span.since.isoformat(),
        "until": span.until.isoformat(),
        "what": EVERYTHING if span.everything else FAILED,
    }


def _short(text: str) -> str:
    """An ISO moment as people write it; any other text as it is."""
    moment = parse_datetime(text) if "T" in text else None
    return f"{localtime(moment):%Y-%m-%d %H:%M:%S}" if moment and is_aware(moment) else text


def _counted(span: Span) -> dict[str, Any]:
    """How many deliveries it would be, and how far they were counted."""
    number, more = span.counted()
    return {
        "is_any": number or more,
        "counted": f"{number:,}",
        "looked_at": more and f"{span.looked_at:,}",
        "portion": f"{settings.WEBHOOK_REPLAY_MAX:,}",
        "rest_minutes": settings.WEBHOOK_REPLAY_REST.seconds // 60,
    }


def _say(request: HttpRequest, count: int, more: bool) -> None:
    if not count:
        messages.warning(request, _("Nothing was sent again: nothing is left, or it was just now."))
        return
    sentence = ngettext("%(n)s delivery is sent again.", "%(n)s deliveries are sent again.", count)
    rest = _(" More are left: send them, too.") if more else ""
    messages.success(request, sentence % {"n": f"{count:,}"} + rest)


def _payload(delivery: Delivery) -> dict[str, Any]:
    """The body that is sent, indented: the beginning of it, and how many letters more there are."""
    text = json.dumps(json.loads(webhooks.body(delivery)), ensure_ascii=False, indent=2)
    most = settings.OPS_PAYLOAD_SHOWN_CHARS
    return {"text": text[:most], "more": max(0, len(text) - most)}


def _with_clients(rows: list[Delivery]) -> list[tuple[Delivery, str]]:
    """Each with the name of the client whose event it is; an empty one for nobody's."""
    owners = {row.event.owner for row in rows if row.event.owner}
    names = {pk: client.name for pk, client in Client.objects.in_bulk(list(owners)).items()}
    return [(row, names.get(row.event.owner, "")) for row in rows]


def _clients() -> list[str]:
    """Names to choose from; any other may be typed."""
    names = Client.objects.order_by("name").values_list("name", flat=True)
    return list(names[: settings.OPS_ROWS_MAX])

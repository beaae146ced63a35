"""The panel over HTTP."""

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from demo.breaking import verbs
from demo.breaking.panel import panel
from demo.cards import LOST_ANSWER, cards
from demo.menu import OrderForm
from demo.ordering import ordered
from demo.views import closed, menu_page
from orders.models import Order

PANEL = "#break"


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def break_things(request: HttpRequest) -> HttpResponse:
    """POST breaks what `verb` names, then leads to the panel; htmx asks for its changing part."""
    if not cards():
        return closed(request)
    if request.method == "POST":
        return _broken(request)
    if request.headers.get("HX-Request"):
        return render(request, "demo/standing.html", panel(request))
    return _back()


def _back() -> HttpResponse:
    return HttpResponseRedirect(reverse("shop") + PANEL, status=303)


def _broken(request: HttpRequest) -> HttpResponse:
    verb = next((one for one in verbs.VERBS if one.slug == request.POST.get("verb")), None)
    if verb is None:
        raise Http404
    if verb not in verbs.offered(request):
        raise PermissionDenied
    form = OrderForm(_with_the_card_of(verb, request)) if verb.orders else None
    if form and not form.is_valid():
        return menu_page(request, form)
    if not verbs.rests.take(verb.slug):
        messages.error(request, _("Somebody has just done that. Try again in a few seconds."))
        return _back()
    if form:
        return _ordered(request, verb, form)
    messages.success(request, DOES[verb.slug]())
    return _back()


def _with_the_card_of(verb: verbs.Verb, request: HttpRequest) -> dict[str, str]:
    lost = {"token": LOST_ANSWER} if verb.slug == "answer" else {}
    return {**request.POST.dict(), **lost}


def _ordered(request: HttpRequest, verb: verbs.Verb, form: OrderForm) -> HttpResponse:
    if verb.slug == "twice":
        placed, sentence = verbs.click_twice(form), _("Sent twice. What came of it:")
    else:
        placed = [order for order in [ordered(form)] if order]
        sentence = _("The bank takes the money and does not answer:")
    if form.errors:
        return menu_page(request, form)
    message = mark_safe(f"{sentence} {_links(placed)}")  # noqa: S308 - our own words
    messages.success(request, message)
    return _back()


def _links(orders: list[Order]) -> str:
    pages = ((reverse("status_page", args=[one.public_token]), one.number) for one in orders)
    return format_html_join(", ", '<a href="{}">{}</a>', pages)


def _rung() -> str:
    job = verbs.ring_twice()
    if job is None:
        return _("There was no job to ring for, or the broker did not take the bells.")
    task = job.task.rpartition(".")[2]
    return _("Two more bells rang for the job %(task)s.") % {"task": task}


def _flushed() -> str:
    verbs.flush()
    return _("A job throws away what waits in the broker.")


def _killed() -> str:
    verbs.kill()
    return _("A process is being killed while it places an order. Another one places it.")


DOES: dict[str, Callable[[], str]] = {"bell": _rung, "flush": _flushed, "kill": _killed}

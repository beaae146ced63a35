"""The menu of the demo shop over HTTP: looked at, ordered from, and closed."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from demo.breaking.panel import panel
from demo.cards import cards
from demo.menu import CURRENCY, OrderForm
from demo.ordering import ordered
from values.money import written


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def shop(request: HttpRequest) -> HttpResponse:
    """The menu. Takes an order just as the API does; a form sent twice leads to its one order."""
    if not cards():
        return closed(request)
    if request.headers.get("HX-Request") and request.method != "POST":
        return _running_total(OrderForm(request.GET))
    form = OrderForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and (order := ordered(form)):
        return HttpResponseRedirect(reverse("status_page", args=[order.public_token]), status=303)
    return menu_page(request, form)


def closed(request: HttpRequest) -> HttpResponse:
    return render(request, "demo/closed.html", status=403 if request.method == "POST" else 200)


def menu_page(request: HttpRequest, form: OrderForm) -> HttpResponse:
    """The menu, with the errors of a form that was sent: 422, or 429 when too many were."""
    status = 422 if form.is_bound else 200
    if form.is_flood:
        status = 429
    seen = {"form": form, "currency": CURRENCY, **panel(request)}
    return render(request, "demo/shop.html", seen, status=status)


def _running_total(form: OrderForm) -> HttpResponse:
    """What the quantities come to; nothing while one of them cannot be ordered."""
    form.is_valid()  # not the whole form, which is still being filled in
    form.refuse_shortage()
    is_certain = not any(offer.field.errors for offer in form.offers)
    return HttpResponse(written(form.total, CURRENCY) if is_certain else "")

"""Addresses that nothing is mailed to, over HTTP: the list, one of them, putting on, taking off."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from notifications.models import Suppression
from ops.access import LOOK, OPERATE, may_operate, staff_page
from ops.models import StaffAction
from ops.places import place, serial
from ops.told import verbs
from ops.told.forms import AddressForm, ReasonForm
from values.shop import EMAIL_MAX_CHARS


@require_safe
@staff_page(LOOK)
def suppressed(request: HttpRequest) -> HttpResponse:
    """The list, the newest first; with `address`, the page of that one if it is on the list."""
    typed = request.GET.get("address", "").strip()[:EMAIL_MAX_CHARS]
    if typed and (listed := Suppression.objects.of(typed)):
        return redirect("ops:suppressed_one", listed.pk)
    before = place(request, "before", serial)
    rows = list(Suppression.objects.newest(before=before)[: settings.OPS_ROWS_MAX + 1])
    page = rows[: settings.OPS_ROWS_MAX]
    seen = {
        "rows": page,
        "older": page[-1].pk if len(rows) > len(page) else None,
        "typed": typed,
        "may_operate": may_operate(request),
        "here": "told",
    }
    return render(request, "ops/told/suppressed.html", seen)


@staff_page(LOOK)
def one(request: HttpRequest, pk: int) -> HttpResponse:
    """Why nothing is mailed there and since when; POST takes it off."""
    return take_off(request, pk) if request.method == "POST" else _page(request, pk, ReasonForm())


@staff_page(OPERATE)
def take_off(request: HttpRequest, pk: int) -> HttpResponse:
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, pk, form)
    if verbs.unsuppress(pk, form.cleaned_data["reason"], by=request.user):
        sentence = _("It is mailed again from now on. What was given up is not sent by itself.")
        messages.success(request, sentence)
    else:
        messages.warning(request, _("Nothing was done: it was taken off already."))
    return redirect("ops:suppressed")


@staff_page(OPERATE)
def put_on(request: HttpRequest) -> HttpResponse:
    form = AddressForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        seen = {"form": form, "here": "told"}
        status = 422 if form.errors else 200
        return render(request, "ops/told/suppress.html", seen, status=status)
    address, reason = form.cleaned_data["address"], form.cleaned_data["reason"]
    if verbs.suppress(address, reason, by=request.user):
        messages.success(request, _("Nothing is mailed there from now on."))
    else:
        messages.warning(request, _("Nothing was done: it is on the list already."))
    return redirect("ops:suppressed")


def _page(request: HttpRequest, pk: int, form: ReasonForm) -> HttpResponse:
    listed = get_object_or_404(Suppression, pk=pk)
    seen = {
        "listed": listed,
        "form": form,
        "actions": StaffAction.of(f"address {pk}"),
        "may_operate": may_operate(request),
        "here": "told",
    }
    status = 422 if form.errors else 200
    return render(request, "ops/told/suppressed_one.html", seen, status=status)

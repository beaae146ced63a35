"""Goods over HTTP: the list, one sku with what moved it, and what is done to it."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from ops.access import LOOK, OPERATE, may_operate, staff_page
from ops.models import StaffAction
from ops.places import place, serial
from ops.refusals import errors_of, sentence_of
from ops.stock.forms import NewForm
from ops.stock.verbs import VERBS, Overtaken, add, perform, rehearse, seen_of, subject_of
from orders.models import Stock
from values.refused import Refused

ACTIONS_SHOWN = 10  # the newest ones


@require_safe
@staff_page(LOOK)
def goods(request: HttpRequest) -> HttpResponse:
    """The list, by sku; or the goods whose sku or name begins with a term, or those that are low.
    The only hit of a term is opened.
    """
    term = request.GET.get("sku", "").strip()[: settings.OPS_TERM_MAX]
    low, after = "low" in request.GET, request.GET.get("after", "")[: settings.OPS_TERM_MAX * 2]
    rows = _found(term, low=low, after=after)
    if term and len(rows) == 1:
        return redirect("ops:stock", rows[0].pk)
    page = rows[: settings.OPS_ROWS_MAX]
    seen = {
        "goods": page,
        "more": len(rows) > len(page),
        "typed": term,
        "low": low,
        "may_operate": may_operate(request),
        "here": "stock",
    }
    return render(request, "ops/stock/goods.html", seen)


@require_safe
@staff_page(LOOK)
def stock(request: HttpRequest, stock_id: int) -> HttpResponse:
    """One sku: what there is of it, every movement that made it so, and who counted."""
    row = _row(stock_id)
    movements = row.movements.select_related("order").order_by("-pk")
    if before := place(request, "before", serial):
        movements = movements.filter(pk__lt=before)
    moved = list(movements[: settings.OPS_ROWS_MAX + 1])
    page = moved[: settings.OPS_ROWS_MAX]
    seen = {
        "stock": row,
        "movements": page,
        "older": page[-1].pk if len(moved) > len(page) else None,
        "actions": StaffAction.of(subject_of(row.sku)).reverse()[:ACTIONS_SHOWN],
        "verbs": {} if row.removed_at else VERBS,
        "may_operate": may_operate(request),
        "here": "stock",
    }
    return render(request, "ops/stock/stock.html", seen)


@staff_page(OPERATE)
def act(request: HttpRequest, stock_id: int, slug: str) -> HttpResponse:
    """GET shows the form and what the verb would come to, POST does it; POST with `look` only shows
    what it would come to as the form stands.
    """
    row = _row(stock_id)
    if slug not in VERBS:
        raise Http404
    posts = request.method == "POST"
    form = VERBS[slug].form(row, request.POST if posts else None)
    if not posts or "look" in request.POST:
        return _asked(request, row, slug, form)
    try:
        if form.is_valid():
            seen = request.POST.get("seen", "")
            perform(row.sku, slug, form.cleaned_data, seen=seen, by=request.user)
            messages.success(request, _("Done: %(verb)s.") % {"verb": VERBS[slug].word})
            return redirect("ops:stock", row.pk)
    except Overtaken:
        row.refresh_from_db()
        return _asked(request, row, slug, form, overtaken=True)
    except Refused as problem:
        _blame(form, problem)
    return _asked(request, row, slug, form)


@staff_page(OPERATE)
def new(request: HttpRequest) -> HttpResponse:
    """The form of goods of a new sku; leads to them."""
    form = NewForm(Stock(), request.POST if request.method == "POST" else None)
    try:
        if form.is_valid():
            row = add(form.cleaned_data, by=request.user)
            return redirect("ops:stock", row.pk)
    except Refused as problem:
        _blame(form, problem)
    status = 422 if form.errors else 200
    return render(request, "ops/stock/new.html", {"form": form, "here": "stock"}, status=status)


def _found(term: str, *, low: bool, after: str) -> list[Stock]:
    """The goods of a page, and one more if there are more."""
    most = settings.OPS_ROWS_MAX + 1
    if low:
        rows = Stock.objects.low()
        return list((rows.called(term) if term else rows)[:most])
    if term:
        return Stock.objects.first_called(term, limit=most)
    return list(Stock.objects.there().filter(sku__gt=after).order_by("sku")[:most])


def _row(stock_id: int) -> Stock:
    if stock_id >= 2**63:
        raise Http404
    return get_object_or_404(Stock, pk=stock_id)


def _asked(
    request: HttpRequest, row: Stock, slug: str, form: Any, *, overtaken: bool = False
) -> HttpResponse:
    """The page with the form, and with what the verb would come to now."""
    seen: dict[str, Any] = {"stock": row, "verb": VERBS[slug], "form": form, "here": "stock"}
    seen["beyond"] = row.removed_at is not None
    try:
        if (entered := form.so_far()) is not None:
            seen["outcome"] = rehearse(row.sku, VERBS[slug], entered)
    except Overtaken:
        seen["beyond"] = True
    except Refused as problem:
        seen["refusal"] = sentence_of(problem)
    if overtaken:
        seen["overtaken"] = True
        seen["last"] = StaffAction.of(subject_of(row.sku)).last()
    seen["seen"] = seen_of(row)
    refused = 422 if form.errors else 200
    return render(request, "ops/stock/act.html", seen, status=409 if overtaken else refused)


def _blame(form: Any, problem: Refused) -> None:
    """Put each error of a problem at its field; where there is none, above the form."""
    for pointer, message in errors_of(problem):
        name = pointer[1:]
        form.add_error(name if name in form.fields else None, message)

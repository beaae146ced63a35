"""Clients over HTTP: their keys, and how their shops are set."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from notifications.models import Shop
from ops.access import ADMINISTER, LOOK, may_administer, staff_page
from ops.clients import first_clients, fresh, once
from ops.models import StaffAction
from ops.refusals import sentence_of
from ops.staff import keys, shops
from ops.staff.keys import ClientForm, KeyForm
from ops.staff.shops import ShopForm
from orders.models import ApiKey, Client, Order
from orders.models.client import SCOPES
from values.refused import Refused

ACTIONS_SHOWN = 10


@require_safe
@staff_page(LOOK)
def clients(request: HttpRequest) -> HttpResponse:
    """The list, by name, each with its shop's name and how many of its keys open something; with
    `name`, that client's page.
    """
    if name := request.GET.get("name", ""):
        return redirect("ops:client", get_object_or_404(Client, name=name).pk)
    rows = first_clients()
    ids = [row.pk for row in rows]
    names = dict(Shop.objects.filter(pk__in=ids).values_list("owner", "name"))
    live = ApiKey.objects.filter(client__in=ids, revoked_at=None).values("client")
    counted = live.annotate(number=Count("pk"), used=Max("last_used_at"))
    keys_of = {one["client"]: one for one in counted}
    listed = [(row, names.get(row.pk), keys_of.get(row.pk)) for row in rows]
    seen = {"clients": listed, "may_administer": may_administer(request), "here": "settings"}
    return render(request, "ops/staff/clients.html", seen)


@require_safe
@staff_page(LOOK)
def client(request: HttpRequest, client_id: UUID) -> HttpResponse:
    """One client: its keys, its shop, and what staff did to them."""
    row = get_object_or_404(Client, pk=client_id)
    own = shops.own_of(row)
    newest = Order.objects.of(row).order_by("-pk").first()
    seen = {
        "client": row,
        "keys": keys.keys_of(row.pk, limit=settings.OPS_ROWS_MAX),
        "every": len(SCOPES),
        "shop": Shop.objects.of(row.pk),
        "own": [(label, own[name]) for name, label in shops.LABELS.items() if own[name] != ""],
        "newest": newest,
        "actions": StaffAction.of(keys.subject_of(row)).reverse()[:ACTIONS_SHOWN],
        "may_administer": may_administer(request),
        "here": "settings",
    }
    return render(request, "ops/staff/client.html", seen)


@staff_page(ADMINISTER)
def new_client(request: HttpRequest) -> HttpResponse:
    form = ClientForm(request.POST if request.method == "POST" else None)
    try:
        if form.is_valid():
            row = keys.introduce(form.cleaned_data["name"], by=request.user)
            return redirect("ops:client", row.pk)
    except Refused as problem:
        form.add_error("name", sentence_of(problem))
    seen = {"form": form, "here": "settings"}
    return render(request, "ops/staff/new_client.html", seen, status=422 if form.errors else 200)


@staff_page(ADMINISTER)
def new_key(request: HttpRequest, client_id: UUID) -> HttpResponse:
    """A new key of some scopes. It is shown in the answer and never again."""
    row = get_object_or_404(Client, pk=client_id)
    form = KeyForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        scopes = form.cleaned_data["scopes"]
        return _shown_once(request, row, scopes, lambda: keys.make(row, scopes, by=request.user))
    seen = {"client": row, "form": form, "form_id": fresh(), "here": "settings"}
    return render(request, "ops/staff/new_key.html", seen, status=422 if form.errors else 200)


@staff_page(ADMINISTER)
def rotate(request: HttpRequest, key_id: int) -> HttpResponse:
    """GET asks, POST makes a second key with the scopes of this one and shows it once."""
    old = _key(key_id)
    if request.method == "POST" and old.revoked_at is None:
        return _shown_once(request, old.client, old.pk, lambda: keys.rotate(old, by=request.user))
    seen = {"key": old, "client": old.client, "form_id": fresh(), "here": "settings"}
    return render(request, "ops/staff/rotate_key.html", seen)


@staff_page(ADMINISTER)
def revoke(request: HttpRequest, key_id: int) -> HttpResponse:
    """GET asks, POST revokes. A message says so when somebody was faster, and who."""
    key = _key(key_id)
    if request.method != "POST":
        seen = {"key": key, "client": key.client, "here": "settings"}
        return render(request, "ops/staff/revoke_key.html", seen)
    if keys.revoke(key, by=request.user):
        messages.success(request, _("Done: the key opens nothing any more."))
    else:
        last = StaffAction.of(keys.subject_of(key.client)).last()
        who = last.who if last else "manage.py"
        messages.warning(request, _("It had been revoked already. Last here: %s.") % who)
    return redirect("ops:client", key.client_id)


@staff_page(ADMINISTER)
def shop(request: HttpRequest, client_id: UUID) -> HttpResponse:
    """The settings of a client's shop; a field that is left empty is as the installation has it."""
    row = get_object_or_404(Client, pk=client_id)
    own = shops.own_of(row)
    form = ShopForm(
        own, Shop.objects.of(row.pk), request.POST if request.method == "POST" else None
    )
    seen: dict[str, Any] = {"client": row, "form": form, "here": "settings"}
    seen |= {"seen": shops.seen_of(own)}
    status = 422 if form.errors else 200
    if form.is_valid():
        try:
            seen_then = request.POST.get("seen", "")
            shops.set_all(row, form.cleaned_data, seen=seen_then, by=request.user)
            messages.success(request, _("Done: mails and pages have it from now on."))
            return redirect("ops:client", row.pk)
        except shops.Overtaken:
            last = StaffAction.of(keys.subject_of(row)).last()
            seen |= {"overtaken": True, "last": last}
            status = 409
    return render(request, "ops/staff/shop.html", seen, status=status)


def _shown_once(
    request: HttpRequest, client: Client, sent: Any, make: Callable[[], str | None]
) -> HttpResponse:
    """The page with the key; when the form was sent before, the client's page instead."""
    made: list[str] = []

    def act() -> str:
        if key := make():
            made.append(key)
        return reverse("ops:client", args=[client.pk])

    try:
        where = once(client, request.POST.get("form_id", ""), {"key": sent}, act)
    except Refused as problem:
        messages.warning(request, sentence_of(problem))
        return redirect("ops:client", client.pk)
    if not made:
        messages.warning(
            request, _("Nothing was made: that form was sent before, or the key is gone.")
        )
        return redirect(where)
    seen = {"client": client, "made": made[0], "here": "settings"}
    return render(request, "ops/staff/made_key.html", seen)


def _key(key_id: int) -> ApiKey:
    keys_there = ApiKey.objects.select_related("client")
    return get_object_or_404(keys_there, pk=min(key_id, 2**63 - 1))

"""Mails over HTTP: as a customer got one, and of each kind an example. The HTML of a mail is a page
of its own, which a browser shows in a frame that runs nothing, sends nothing and fetches nothing.
"""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.csp import CSP
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.csp import csp_override
from django.views.decorators.http import require_safe

from notifications.mail import examples
from notifications.mail.checks import WRONG
from notifications.mail.message import Message
from notifications.mail.message import render as written
from notifications.models import Delivery, Event, Shop
from ops.access import LOOK, staff_page
from orders.models import Client
from values.shop import LANGUAGES

MAIL_CSP: dict[str, list[str] | str] = {
    "sandbox": "",
    "default-src": [CSP.NONE],
    "style-src": [CSP.UNSAFE_INLINE],  # a mail bears its styles in its tags
    "base-uri": [CSP.NONE],
    "form-action": [CSP.NONE],
    "frame-ancestors": [CSP.SELF],
}


@require_safe
@staff_page(LOOK)
def mails(request: HttpRequest) -> HttpResponse:
    """Each kind of mail that there is, in each language."""
    kinds = [(kind, "order" in examples.example(kind, LANGUAGES[0]).data) for kind in _kinds()]
    seen = {"kinds": kinds, "own": bool(settings.MAIL_TEMPLATES)}
    return render(request, "ops/told/mails.html", {**seen, "here": "told"})


@require_safe
@staff_page(LOOK)
def example(request: HttpRequest, kind: str, language: str) -> HttpResponse:
    """The mail of an example; with `client` in the name of that client's shop."""
    event, client = _example(kind, language), _client(request)
    seen = {
        **letter(event, client.pk if client else None),
        "kind": kind,
        "language": language,
        "languages": LANGUAGES,
        "client": client,
        "clients": Client.objects.order_by("name")[: settings.OPS_ROWS_MAX],
    }
    return render(request, "ops/told/example.html", {**seen, "here": "told"})


@require_safe
@xframe_options_sameorigin
@csp_override(MAIL_CSP)
@staff_page(LOOK)
def html_of_example(request: HttpRequest, kind: str, language: str) -> HttpResponse:
    client = _client(request)
    return _html(_example(kind, language), client.pk if client else None)


@require_safe
@xframe_options_sameorigin
@csp_override(MAIL_CSP)
@staff_page(LOOK)
def html_of_delivery(request: HttpRequest, delivery_id: UUID) -> HttpResponse:
    mail = get_object_or_404(
        Delivery.objects.select_related("event"), pk=delivery_id, channel=Delivery.Channel.MAIL
    )
    return _html(mail.event, mail.event.owner)


def letter(event: Event, owner: UUID | None) -> dict[str, Any]:
    """`mail`, in the name of that client's shop; or `wrong`, why it cannot be written."""
    try:
        return {"mail": _written(event, owner)}
    except WRONG as exc:
        return {"wrong": f"{type(exc).__name__}: {exc}"}


def _html(event: Event, owner: UUID | None) -> HttpResponse:
    seen = letter(event, owner)
    if "mail" not in seen:
        raise Http404
    return HttpResponse(seen["mail"].html)


def _written(event: Event, owner: UUID | None) -> Message:
    return written(event, Shop.objects.of(owner))


def _kinds() -> list[str]:
    return list(examples.HAPPENING)


def _example(kind: str, language: str) -> Event:
    if kind not in examples.HAPPENING or language not in LANGUAGES:
        raise Http404
    return examples.example(kind, language)


def _client(request: HttpRequest) -> Client | None:
    name = request.GET.get("client", "")[: settings.OPS_TERM_MAX]
    return get_object_or_404(Client, name=name) if name else None

"""/anymail/{provider}/tracking/: what a provider of mail reports of mails that it has taken.

django-anymail reads each provider's own format and asks for MAIL_EVENTS_SECRET (HTTP basic auth).
It is an extra, and loaded when MAIL_EVENTS names a provider.
"""

import logging
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from notifications.mail.answers import provider

log = logging.getLogger(__name__)

# What anymail's views raise over a body that is not as the provider writes it
UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    OSError,  # of a time that no clock has
    RecursionError,
    ImproperlyConfigured,  # it is of another kind than this address takes
)


class _Recording:
    """In front of a view of anymail: what it has read is recorded, and no signal is sent."""

    run_validators: Any
    parse_events: Any

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            self.run_validators(request)
        except SuspiciousOperation:
            realm = {"WWW-Authenticate": 'Basic realm="mail events"'}
            return _answer("The secret is another: MAIL_EVENTS_SECRET.", status=401, headers=realm)
        try:
            reports = self.parse_events(request)
        except UNREADABLE as exc:
            return _answer(
                f"It is no report as {settings.MAIL_EVENTS} writes it: {exc!r:.200}", 400
            )
        if len(reports) > settings.MAIL_EVENTS_MAX:
            return _answer(f"More than {settings.MAIL_EVENTS_MAX} events at once.", status=413)
        if number := provider.record(reports):
            log.info("Addresses that nothing is mailed to any more: %d", number)
        return HttpResponse()


@csrf_exempt
def mail_events(request: HttpRequest, name: str) -> Any:
    """200 when all is recorded. Raises Http404 for another provider than MAIL_EVENTS."""
    if not (settings.MAIL_EVENTS and settings.MAIL_EVENTS_SECRET and name == settings.MAIL_EVENTS):
        raise Http404
    module = import_module(f"anymail.webhooks.{name}")
    reading = getattr(module, f"{settings.MAIL_PROVIDERS[name]}TrackingWebhookView")
    view = type("MailEvents", (_Recording, reading), {}).as_view()  # type: ignore[attr-defined]
    return view(request)


def _answer(text: str, status: int, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, headers=headers, content_type="text/plain")

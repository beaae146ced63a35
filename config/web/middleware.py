"""What every request passes: its id, and the API's way to refuse."""

import logging
import re
from collections.abc import Callable
from time import monotonic
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect

from api.conventions.rate_limit import STANDING
from api.problems import handlers
from celery_ledger import context, in_trouble, span
from config.web import error_pages
from config.web.health import CHECKS

requests_log = logging.getLogger("config.requests")

Handler = Callable[[HttpRequest], HttpResponse]
# what Heroku's router takes from a client, and others make
REQUEST_ID = re.compile(r"[A-Za-z0-9._+/=-]{8,200}")
# W3C, of any version
TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


class RequestContext:
    """Take the router's X-Request-ID or make one; logs, jobs, answers and problems all carry it.

    The caller's traceparent (W3C Trace Context), if it is one, travels with the jobs too.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.headers.get("X-Request-ID", "")
        request_id = sent if REQUEST_ID.fullmatch(sent) else str(uuid4())
        traceparent = request.headers.get("traceparent", "")
        trace_context = {"traceparent": traceparent} if TRACEPARENT.fullmatch(traceparent) else {}
        began = monotonic()
        with (
            context.replaced({"request_id": request_id, **trace_context}),
            span("request", "SERVER") as about,
        ):
            refusal = _refusal(request)
            response = refusal or self.get_response(request)
            requests_log.info(
                "request", extra={"fields": _log_fields(request, response, monotonic() - began)}
            )
            about.update(_attributes(request, response, request_id))
        response["X-Request-ID"] = request_id
        return response


class HttpsOnly:
    """What came to the router over plain http: a browser is sent to https, a program is told to use
    it.

    Not Django's SECURE_SSL_REDIRECT, for three reasons. A client that follows a redirect sends its
    key over plain http every time and never learns of it. What comes without X-Forwarded-Proto came
    past the router: a health check of the platform, or somebody on the machine itself. And a form
    that is redirected loses what was in it.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if (
            not settings.HTTPS_ONLY
            or "X-Forwarded-Proto" not in request.headers
            or request.is_secure()
        ):
            return self.get_response(request)
        if request.method in ("GET", "HEAD") and "Authorization" not in request.headers:
            return HttpResponsePermanentRedirect(
                f"https://{request.get_host()}{request.get_full_path()}"
            )
        return handlers.rendered(
            "https-required",
            "Use https. What was sent over plain http may have been read: make a new key.",
        )


class DatabaseTrouble:
    """A page that cannot ask Postgres says so, and when to come back."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return error_pages.database_trouble(exception) if in_trouble(exception) else None


class HeadOfTheApi:
    """HEAD is answered as GET is, which is all that ninja knows; the server leaves the body out."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method != "HEAD" or not request.path.startswith("/v1/"):
            return self.get_response(request)
        request.method = "GET"
        try:
            return self.get_response(request)
        finally:
            request.method = "HEAD"


class ProblemsForTheApi:
    """Under /v1/ every refusal is problem+json, also those that Django makes before or after a
    view.

    And whoever came with a key hears what it has left.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._as_problem(request, self.get_response(request))
        if response.status_code in (204, 304) and request.path.startswith("/v1/"):
            del response["Content-Type"]  # there is nothing that could be of a type
        if STANDING in request.META:
            may_be_kept = "private, no-cache" if "ETag" in response else "no-store"
            response.headers.setdefault("Cache-Control", may_be_kept)
            for name, value in request.META[STANDING].headers.items():
                response[name] = value
        return response

    def _as_problem(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if (
            response.status_code < 400
            or not request.path.startswith("/v1/")
            or response.headers.get("Content-Type") == "application/problem+json"
        ):
            return response
        kept = {
            name: value
            for name, value in response.headers.items()
            if name in ("Allow", "Retry-After")
        }
        return handlers.for_status(response.status_code, headers=kept)


def _log_fields(request: HttpRequest, response: HttpResponse, seconds: float) -> dict[str, object]:
    """What the log says of a request. The route and not the path: a path may hold a customer's
    token.
    """
    key = getattr(request, "auth", None)
    named = {"client_name": key.client.name} if key else {}
    return {
        "method": request.method,
        "route": route_of(request),
        "status": response.status_code,
        "duration_ms": round(seconds * 1000),
        **named,
    }


def _attributes(request: HttpRequest, response: HttpResponse, request_id: str) -> dict[str, object]:
    """What a span says of a request, in OpenTelemetry's words."""
    route, status = route_of(request), response.status_code
    return {
        "name": f"{request.method} {route}",
        "failed": status >= 500,
        "kaiten.request_id": request_id,
        "http.request.method": request.method,
        "http.route": route,
        "http.response.status_code": status,
    }


def route_of(request: HttpRequest) -> str:
    """`/o/<str:token>/`; a health check's and a static file's path; `(none)` where nothing is."""
    if request.resolver_match is not None:
        return f"/{request.resolver_match.route}"
    static = f"/{settings.STATIC_URL.strip('/')}/"
    is_plain = request.path in CHECKS or request.path.startswith(static)
    return request.path if is_plain else "(none)"


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """For a request that nobody can read: its body is too large or has no length, it holds NUL, is
    not in UTF-8.
    """
    limit = settings.BODY_MAX_BYTES_OF.get(request.path, settings.BODY_MAX_BYTES)
    if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
        return handlers.rendered("body-too-large", f"The body may have {limit} bytes.")
    if "\x00" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
        return handlers.rendered(
            "malformed-request",
            "The address holds a NUL, %00, which is in the name of nothing here.",
        )
    if any("\x00" in value for value in request.COOKIES.values()):
        return handlers.rendered(
            "malformed-request", "A cookie holds a NUL, which none of ours does."
        )
    if request.headers.get("Transfer-Encoding") and not request.headers.get("Content-Length"):
        return handlers.for_status(411)  # Django reads a body by its length, and would see none
    charset = (request.content_params or {}).get("charset", "utf-8").lower()
    is_form = request.content_type == "application/x-www-form-urlencoded"
    if is_form and charset not in ("utf-8", "utf8"):
        # Django refuses to read it, and fails on it again while it says so
        return handlers.for_status(415)
    return None

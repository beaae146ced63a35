"""Refusals as application/problem+json: the answer to each exception and to each status of Django's
own.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from api.problems.document import CONTENT_TYPE, document
from api.problems.types import OF_STATUS, TYPES
from celery_ledger import context, in_trouble
from orders.inputs.faults import pointed
from values.refused import Refused
from values.strict_json import NotJson

log = logging.getLogger(__name__)


def rendered(
    slug: str,
    detail: str,
    *,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    status: int | None = None,
) -> HttpResponse:
    """The answer of this kind; `status` is for a kind that has none of its own."""
    request_id = context.current().get("request_id")
    problem = document(slug, detail, errors=errors, request_id=request_id, status=status)
    code = status or TYPES[slug].status
    return HttpResponse(problem, status=code, content_type=CONTENT_TYPE, headers=headers)


def for_status(status: int, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """The problem for a refusal that came from Django itself, e.g. 404 or 405."""
    slug = OF_STATUS.get(status, "refused")
    return rendered(slug, TYPES[slug].remedy, headers=headers, status=status)


def install(api: NinjaAPI) -> None:
    """Every exception that a view of the API can raise has its answer."""
    handlers: dict[type[Exception], Any] = {
        Refused: lambda _, exc: _refused(exc),
        ValidationError: _invalid,
        AuthenticationError: lambda _, exc: rendered(
            "unauthenticated",
            "Send a valid key as Authorization: Bearer <key>.",
            headers={"WWW-Authenticate": "Bearer"},
        ),
        HttpError: _unreadable,
        Http404: lambda _, exc: for_status(404),
        RequestDataTooBig: lambda _, exc: for_status(413),
        SuspiciousOperation: lambda _, exc: rendered(
            "malformed-request", f"The request cannot be read: {exc}"
        ),
        UnreadablePostError: lambda _, exc: for_status(408),
        Error: _database_error,
        Exception: _unforeseen,
    }
    for exception, handler in handlers.items():
        api.add_exception_handler(exception, handler)


def _refused(exc: Refused) -> HttpResponse:
    headers = {}
    if exc.order is not None:
        headers["Location"] = f"/v1/orders/{exc.order}"
    if exc.retry_after_s is not None:
        headers["Retry-After"] = str(exc.retry_after_s)
    return rendered(exc.slug, str(exc), errors=exc.errors, headers=headers)


def _unreadable(request: HttpRequest, exc: HttpError) -> HttpResponse:
    """Ninja wraps what the parser raises; the parser knows the place."""
    if isinstance(exc.__cause__, Refused):
        return _refused(exc.__cause__)
    if isinstance(cause := exc.__cause__, NotJson):
        return rendered("malformed-json", str(cause), errors=[(cause.pointer, cause.message)])
    return for_status(exc.status_code)


def _invalid(request: HttpRequest, exc: ValidationError) -> HttpResponse:
    errors = [pointed(error, skip=2 if error["loc"][0] == "body" else 0) for error in exc.errors]
    named = errors[: settings.PROBLEM_ERRORS_MAX]
    detail = "; ".join(f"{pointer or 'the body'}: {message}" for pointer, message in named)
    return rendered("invalid", detail, errors=errors)


def _database_error(request: HttpRequest, exc: Exception) -> HttpResponse:
    if not in_trouble(exc):
        return _unforeseen(request, exc)
    log.error("Postgres is in trouble: %s", exc)
    detail = "The database does not answer, or may not write just now. "
    detail += "Nothing was written; try again with the same key."
    retry = {"Retry-After": str(settings.DATABASE_RETRY_AFTER_S)}
    return rendered("unavailable", detail, headers=retry)


def _unforeseen(request: HttpRequest, exc: Exception) -> HttpResponse:
    log.exception("Unforeseen error in %s %s", request.method, request.path)
    return for_status(500)

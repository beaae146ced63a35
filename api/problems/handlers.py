"""Refusals as application/problem+json: what is said for each exception and each status of Django's own."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from api.problems.document import CONTENT_TYPE, document
from celery_ledger import context, in_trouble
from orders.order_input import pointed
from values.refused import Problem
from values.strict_json import NotJson

log = logging.getLogger(__name__)


def rendered(
    status: int,
    slug: str,
    detail: str,
    *,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    said = document(
        status, slug, detail, errors=errors, request_id=context.current().get("request_id")
    )
    return HttpResponse(said, status=status, content_type=CONTENT_TYPE, headers=headers)


def for_status(status: int, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """The problem for a refusal that came from Django itself, e.g. 404 or 405."""
    slug = {
        404: "not-found",
        405: "method-not-allowed",
        408: "request-timeout",
        411: "length-required",
        413: "body-too-large",
        415: "unsupported-media-type",
        429: "rate-limited",
        500: "internal",
    }.get(status, "refused")
    detail = {
        400: "The request cannot be read, or its Host is not one of this shop's.",
        404: "There is nothing here, or not for this key.",
        405: "This path does not take this method.",
        408: "The body did not arrive in time.",
        411: "Send the body with a Content-Length, not chunked.",
        413: f"The body may have {settings.BODY_MAX_BYTES} bytes.",
        415: "Send the form in UTF-8.",
        500: "Something went wrong on our side; it has been logged under this request_id.",
    }.get(status, HTTPStatus(status).phrase)
    return rendered(status, slug, detail, headers=headers)


def install(api: NinjaAPI) -> None:
    """Every exception that a view of the API can raise, and what is said for it."""
    handlers: dict[type[Exception], Any] = {
        Problem: lambda _, exc: _said(exc),
        ValidationError: _invalid,
        AuthenticationError: lambda _, exc: rendered(
            401,
            "unauthenticated",
            "Send a valid key as Authorization: Bearer <key>.",
            headers={"WWW-Authenticate": "Bearer"},
        ),
        HttpError: _refused,
        Http404: lambda _, exc: for_status(404),
        RequestDataTooBig: lambda _, exc: for_status(413),
        SuspiciousOperation: lambda _, exc: rendered(
            400, "refused", f"The request cannot be read: {exc}"
        ),
        UnreadablePostError: lambda _, exc: for_status(408),
        Error: _database_error,
        Exception: _unforeseen,
    }
    for exception, handler in handlers.items():
        api.add_exception_handler(exception, handler)


def _said(exc: Problem) -> HttpResponse:
    return rendered(exc.status, exc.slug, str(exc), errors=exc.errors, headers=exc.headers)


def _refused(request: HttpRequest, exc: HttpError) -> HttpResponse:
    """Ninja wraps what the parser raises; the parser knows the place."""
    if isinstance(exc.__cause__, Problem):
        return _said(exc.__cause__)
    if isinstance(cause := exc.__cause__, NotJson):
        return rendered(400, "malformed-json", str(cause), errors=[(cause.pointer, cause.message)])
    return rendered(exc.status_code, "refused", str(exc))


def _invalid(request: HttpRequest, exc: ValidationError) -> HttpResponse:
    errors = [pointed(error, skip=2 if error["loc"][0] == "body" else 0) for error in exc.errors]
    named = errors[: settings.PROBLEM_ERRORS_MAX]
    detail = "; ".join(f"{pointer or 'the body'}: {message}" for pointer, message in named)
    return rendered(422, "invalid", detail, errors=errors)


def _database_error(request: HttpRequest, exc: Exception) -> HttpResponse:
    if not in_trouble(exc):
        return _unforeseen(request, exc)
    log.error("Postgres is in trouble: %s", exc)
    detail = "The database does not answer, or may not write just now. Nothing was written; try again with the same key."
    return rendered(
        503, "unavailable", detail, headers={"Retry-After": str(settings.DATABASE_RETRY_AFTER_S)}
    )


def _unforeseen(request: HttpRequest, exc: Exception) -> HttpResponse:
    log.exception("Unforeseen error in %s %s", request.method, request.path)
    return for_status(500)

"""What a browser sees when a page cannot be shown. Nothing of the request's body is read for it: it
may be at fault.
"""

import logging
import sys
from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousMultipartForm
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from celery_ledger import in_trouble

log = logging.getLogger(__name__)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "400.html", status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "403.html", status=403)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django calls this while it handles what went wrong, and logs that in most cases but not in
    all.
    """
    exc = sys.exception()
    if in_trouble(exc):
        return database_trouble(exc)
    log.exception("Unforeseen error in %s %s", request.method, request.path)
    return HttpResponse(render_to_string("500.html"), status=500)


def database_trouble(exc: BaseException | None) -> HttpResponse:
    """A page that cannot ask Postgres says so, and when to come back."""
    log.error("Postgres is in trouble: %s", exc)
    retry = {"Retry-After": str(settings.DATABASE_RETRY_AFTER_S)}
    return HttpResponse(render_to_string("500.html"), status=503, headers=retry)


class NoFiles(FileUploadHandler):
    """No page takes a file but that of an import (`ops.files.uploads`), so none reaches the memory
    or the disk. Raises what Django answers with 400.
    """

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        raise SuspiciousMultipartForm("This page takes no file.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        raise NotImplementedError

    def file_complete(self, file_size: int) -> None:
        raise NotImplementedError

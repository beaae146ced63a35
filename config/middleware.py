"""What every request passes: its id, and the API's way to refuse."""

import re
from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

from config import problems
from jobs import context

Handler = Callable[[HttpRequest], HttpResponse]
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")


class RequestContext:
    """Take the router's X-Request-ID or make one; logs, jobs, answers and problems all carry it.

    Nothing in Postgres can be named by NUL, so a URL that tries goes no further.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.headers.get("X-Request-ID", "")
        request_id = sent if REQUEST_ID.fullmatch(sent) else str(uuid4())
        with context.replaced({"request_id": request_id}):
            named_by_nul = "\x00" in request.path_info or "%00" in request.META.get("QUERY_STRING", "")
            response = problems.for_status(400) if named_by_nul else self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class ProblemsForTheApi:
    """Under /v1/ every refusal is problem+json, also those that Django makes before or after a view."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if (
            response.status_code < 400
            or not request.path.startswith("/v1/")
            or response.headers.get("Content-Type") == "application/problem+json"
        ):
            return response
        kept = {name: value for name, value in response.headers.items() if name in ("Allow", "Retry-After")}
        return problems.for_status(response.status_code, headers=kept)

"""gunicorn's threaded worker, which refuses what it cannot read as the API refuses:
application/problem+json.
"""

import contextlib
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from gunicorn import util
from gunicorn.http import errors

from api.problems.document import CONTENT_TYPE, document
from api.problems.types import TYPES
from config.web.connections import BrokenOff, NoRoom, PatientWorker, TooSlow

Refusal = tuple[str, str]  # slug, detail

OUR_FAULT = (
    errors.InvalidResponseHeader,
    errors.InvalidResponseHeaderName,
    errors.ConfigurationProblem,
)
BROKEN_CHUNK = (
    errors.InvalidChunkSize,
    errors.ChunkMissingTerminator,
    errors.InvalidChunkExtension,
)
SOMETHING_WENT_WRONG: Refusal = (
    "internal",
    "Something went wrong on our side; it has been logged under this request_id.",
)
REFUSALS: tuple[tuple[type[Exception], Refusal], ...] = (  # the first that fits
    (BrokenOff, ("body-incomplete", "The request broke off before its end.")),
    (TooSlow, ("request-timeout", "The request did not arrive in time.")),
    (
        NoRoom,
        (
            "unavailable",
            "There is no room for another request just now. Nothing was written; try again.",
        ),
    ),
    (errors.LimitRequestLine, ("uri-too-long", "The address is too long. Send less in its query.")),
    (
        errors.LimitRequestHeaders,
        ("headers-too-large", "There are too many headers, or one is too long."),
    ),
    (
        errors.UnsupportedTransferCoding,
        ("transfer-coding-unsupported", "Send the body as it is, with a Content-Length."),
    ),
    (
        errors.ExpectationFailed,
        ("expectation-failed", "The only Expect that is understood is 100-continue."),
    ),
    (
        errors.ForbiddenProxyRequest,
        ("proxy-forbidden", "No PROXY line is taken from this address."),
    ),
    (
        errors.InvalidRequestLine,
        (
            "malformed-request",
            "The first line cannot be read. Percent-encode what is not ASCII in the address.",
        ),
    ),
    (errors.InvalidRequestMethod, ("malformed-request", "The method is none that HTTP knows.")),
    (errors.InvalidHTTPVersion, ("malformed-request", "Speak HTTP/1.1.")),
    (
        errors.InvalidHeader,
        ("malformed-request", "A header holds what no header may, or contradicts another."),
    ),
    (
        errors.InvalidHeaderName,
        ("malformed-request", "The name of a header holds what no name may."),
    ),
    (errors.ParseException, ("malformed-request", "This is not HTTP as RFC 9112 has it.")),
)


def refusal_for(exc: Exception) -> Refusal:
    if isinstance(exc, OUR_FAULT):
        return SOMETHING_WENT_WRONG
    return next(
        (refusal for kind, refusal in REFUSALS if isinstance(exc, kind)), SOMETHING_WENT_WRONG
    )


class ProblemWorker(PatientWorker):
    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """gunicorn's own seam: it could not read a request, or could not carry it out."""
        if req is not None and isinstance(exc, BROKEN_CHUNK):
            return  # the application has answered; only the rest of a body was to be let go of
        slug, detail = refusal_for(exc)
        status = TYPES[slug].status
        request_id = str(uuid4())  # none of the headers can be trusted
        about = {"fields": {"status": status, "why": type(exc).__name__, "request_id": request_id}}
        if status == 500:
            self.log.exception("Unforeseen error", extra=about)
        else:
            self.log.warning("Refused what cannot be read", extra=about)
        with contextlib.suppress(OSError):  # the client is gone, or reads nothing
            util.write_nonblock(client, answer(slug, detail, request_id=request_id))


def answer(slug: str, detail: str, *, request_id: str) -> bytes:
    """A whole answer, as it goes over the wire; the connection ends with it."""
    status = TYPES[slug].status
    body = document(slug, detail, request_id=request_id).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Connection: close",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        f"X-Request-ID: {request_id}",
    )
    return "\r\n".join([*head, "", ""]).encode() + body

"""`Prefer: wait=N` (RFC 7240): for a caller who would rather wait for the order than ask for it
again.
"""

import re
import threading
import time
from uuid import UUID

from django.conf import settings
from django.db import Error
from django.http import HttpResponse

from api.auth import AuthenticatedRequest
from api.conventions.answers import encoded
from api.conventions.idempotency import kept_answer
from api.own import own_order
from celery_ledger import in_trouble
from orders.models import IdempotencyKey, Order
from orders.states import under_way

# Possessive (`*+`): what one of these has matched it keeps, so that no header is read in more than
# one way.
BLANK = r"[ \t]*+"
NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
WORD = rf'(?:{NAME}|"(?:[^"\\]|\\.)*+")'
PARAMETERS = rf"(?:{BLANK};{BLANK}(?:{NAME}(?:{BLANK}={BLANK}{WORD})?+)?+)*+"
PREFERENCE = re.compile(
    rf"{BLANK}(?:({NAME})(?:{BLANK}={BLANK}({WORD}))?+{PARAMETERS})?+{BLANK}(?:,|$)"
)

_places = threading.BoundedSemaphore(settings.PREFER_WAIT_PLACES)


def waited(request: AuthenticatedRequest, accepted: HttpResponse) -> HttpResponse:
    """The answer to an accepted order, held for as long as the request prefers: 200 once the order
    is decided, or waits for its customer.

    That 200 is kept under the Idempotency-Key, so every later repeat gets it again. With all places
    taken the 202 goes out at once: the other threads are for the others.
    """
    wait_s = preferred_wait_s(request.headers.get("Prefer", ""))
    if not wait_s or accepted.status_code != 202 or not _places.acquire(blocking=False):
        return accepted
    try:
        answer = _decided(request, accepted, until=time.monotonic() + wait_s)
    except Error as exc:
        if not in_trouble(exc):
            raise
        return accepted  # it stands in the book; only how it goes on cannot be seen just now
    finally:
        _places.release()
    answer["Preference-Applied"] = f"wait={wait_s}"
    return answer


def preferred_wait_s(prefer: str) -> int:
    """How long this header asks to wait, at most PREFER_WAIT_MAX_S; 0 for not at all, or for what
    nobody can read.

    The first `wait` counts. A header that is malformed anywhere is as good as none.
    """
    waits: list[str] = []
    position = 0
    while position < len(prefer):
        preference = PREFERENCE.match(prefer, position)
        if preference is None:
            return 0
        if (preference[1] or "").lower() == "wait":
            waits.append((preference[2] or "").strip('"').lstrip("0"))
        position = preference.end()
    if not waits or not re.fullmatch("[0-9]+", waits[0]):
        return 0
    return min(int(waits[0][:9]), settings.PREFER_WAIT_MAX_S)


def _decided(
    request: AuthenticatedRequest, accepted: HttpResponse, *, until: float
) -> HttpResponse:
    """Look again and again, each time in a transaction of its own; the 202 again when the time is
    over.
    """
    order_id = UUID(accepted["Location"].rpartition("/")[2])
    while Order.objects.filter(under_way(), pk=order_id).exists():
        if time.monotonic() + settings.PREFER_POLL_S > until:
            return accepted
        time.sleep(settings.PREFER_POLL_S)
    body = encoded(own_order(request, pk=order_id).snapshot())
    key = request.headers["Idempotency-Key"]
    kept = IdempotencyKey.objects.decide(request.auth.client, key, status=200, body=body)
    return kept_answer(kept, replayed="Idempotent-Replayed" in accepted.headers)

"""Where payment providers send their events. No key of ours: the provider signs, and what it says
decides nothing.
"""

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router

from api.conventions.answers import answer
from api.shapes.responses.payments import Received
from orders.payments.provider import NoEvent, NotFromProvider, event_reader
from orders.tasks import record_provider_event
from values.refused import Refused

router = Router(tags=["payments"], auth=None)


EVENT = {"description": "What the provider sends and signs.", "type": "object"}


@router.post(
    "/{provider}/events",
    summary="Receive a payment provider's event",
    response=Received,
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": EVENT}}}
    },
)
def receive_event(request: HttpRequest, provider: str) -> HttpResponse:
    """Answered at once, noted once; a job then asks the provider what is true. Stripe's events may
    be of either kind, with a snapshot or thin (v2).
    """
    read = event_reader(provider)
    if read is None:
        raise Http404
    try:
        notice = read(request.body, request.headers)
    except NotFromProvider as exc:
        raise Refused(
            "bad-signature", f"This event is not taken for one of {provider}: {exc}."
        ) from exc
    except NoEvent as exc:
        raise Refused("no-event", f"{provider} has signed this, but {exc}.") from exc
    record_provider_event(provider, notice)
    return answer(Received(received=True))

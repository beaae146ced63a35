"""Every kind of refusal of the API: what it means and what to do, for the pages that its `type` leads to."""

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy


class ProblemType(NamedTuple):
    status: str
    title: Promise
    remedy: Promise


TYPES: dict[str, ProblemType] = {
    "malformed-request": ProblemType(
        "400",
        gettext_lazy("The request is not HTTP as it should be"),
        gettext_lazy(
            "`detail` says which part cannot be read. Percent-encode the address, and send it anew."
        ),
    ),
    "uri-too-long": ProblemType(
        "414",
        gettext_lazy("The address is too long"),
        gettext_lazy("Send less in the query."),
    ),
    "headers-too-large": ProblemType(
        "431",
        gettext_lazy("There are too many headers, or one is too long"),
        gettext_lazy("Send fewer or shorter headers, cookies among them."),
    ),
    "unauthenticated": ProblemType(
        "401",
        gettext_lazy("There is no valid key"),
        gettext_lazy("Send a key as Authorization: Bearer KEY. It may have been revoked."),
    ),
    "missing-scope": ProblemType(
        "403",
        gettext_lazy("The key may not do this"),
        gettext_lazy("Use a key that was made with the scope that is named."),
    ),
    "https-required": ProblemType(
        "403",
        gettext_lazy("This came over plain http"),
        gettext_lazy(
            "Use https. A key that was sent over plain http may have been read; make a new one."
        ),
    ),
    "not-found": ProblemType(
        "404",
        gettext_lazy("There is nothing here"),
        gettext_lazy("Check the address. What belongs to another client is not shown either."),
    ),
    "method-not-allowed": ProblemType(
        "405",
        gettext_lazy("This path does not take this method"),
        gettext_lazy("The Allow header names those that it takes."),
    ),
    "request-timeout": ProblemType(
        "408",
        gettext_lazy("The body did not arrive in time"),
        gettext_lazy("Send it again; nothing was written."),
    ),
    "length-required": ProblemType(
        "411",
        gettext_lazy("The body has no length"),
        gettext_lazy("Send a Content-Length instead of a chunked body."),
    ),
    "body-too-large": ProblemType(
        "413",
        gettext_lazy("The body is too large"),
        gettext_lazy("Send less at a time."),
    ),
    "body-incomplete": ProblemType(
        "400",
        gettext_lazy("The body ended early"),
        gettext_lazy("Send it again; nothing was written."),
    ),
    "unsupported-media-type": ProblemType(
        "415",
        gettext_lazy("This kind of body is not taken here"),
        gettext_lazy("Send the Content-Type that the documentation names, in UTF-8."),
    ),
    "malformed-json": ProblemType(
        "400",
        gettext_lazy("The body is not acceptable JSON"),
        gettext_lazy(
            "`errors` names the place. NUL characters, duplicate names, NaN and very deep nesting are refused too."
        ),
    ),
    "malformed-import": ProblemType(
        "400",
        gettext_lazy("The file cannot be read"),
        gettext_lazy(
            "`errors` says why. Send CSV with the documented columns, or one JSON object per line."
        ),
    ),
    "invalid": ProblemType(
        "422",
        gettext_lazy("A field is wrong"),
        gettext_lazy(
            "`errors` names each field and says what is wrong with it. Nothing was written."
        ),
    ),
    "idempotency-key-required": ProblemType(
        "400",
        gettext_lazy("An Idempotency-Key is missing"),
        gettext_lazy(
            "Send an Idempotency-Key header: a fresh UUID for each new request, the same one for a repeat."
        ),
    ),
    "idempotency-key-invalid": ProblemType(
        "400",
        gettext_lazy("The Idempotency-Key cannot be used"),
        gettext_lazy("It must be up to 255 printable ASCII characters. A UUID is fine."),
    ),
    "idempotency-key-reused": ProblemType(
        "422",
        gettext_lazy("The Idempotency-Key was used for another request"),
        gettext_lazy("Use a fresh key for a new request. A repeat must have the same body."),
    ),
    "request-in-progress": ProblemType(
        "409",
        gettext_lazy("The first request with this key is still running"),
        gettext_lazy("Repeat it after the seconds in Retry-After; you will get its answer."),
    ),
    "external-id-taken": ProblemType(
        "409",
        gettext_lazy("The external_id belongs to an earlier order"),
        gettext_lazy("The Location header leads to that order."),
    ),
    "not-cancellable": ProblemType(
        "409",
        gettext_lazy("The order cannot be cancelled any more"),
        gettext_lazy("It is sent in part or has ended. Refund what should come back."),
    ),
    "not-fulfillable": ProblemType(
        "409",
        gettext_lazy("The order cannot be sent now"),
        gettext_lazy(
            "Only a confirmed order that is not held is sent. Wait for it, or release it."
        ),
    ),
    "nothing-to-refund": ProblemType(
        "409",
        gettext_lazy("There is no money left to give back"),
        gettext_lazy("See what was given back already under the order's refunds."),
    ),
    "too-many-imports": ProblemType(
        "409",
        gettext_lazy("As many imports run as may run at a time"),
        gettext_lazy("Wait until one of yours is done, then send the file again."),
    ),
    "order-has-ended": ProblemType(
        "409",
        gettext_lazy("The order has ended"),
        gettext_lazy("A completed or cancelled order cannot be put on hold."),
    ),
    "bad-signature": ProblemType(
        "400",
        gettext_lazy("The provider's signature is not valid"),
        gettext_lazy("Check the signing secret and the clock of the sender."),
    ),
    "rate-limited": ProblemType(
        "429",
        gettext_lazy("Too many requests with this key"),
        gettext_lazy(
            "Wait for the seconds in Retry-After. The RateLimit headers of every answer say how much is left."
        ),
    ),
    "refused": ProblemType(
        "4xx",
        gettext_lazy("The request cannot be carried out as things are"),
        gettext_lazy("`detail` says why. Nothing was changed."),
    ),
    "internal": ProblemType(
        "500",
        gettext_lazy("Something went wrong on our side"),
        gettext_lazy(
            "It has been logged under the request_id. A repeat with the same Idempotency-Key is safe."
        ),
    ),
    "unavailable": ProblemType(
        "503",
        gettext_lazy("This cannot be taken just now"),
        gettext_lazy("Repeat it after the seconds in Retry-After, with the same Idempotency-Key."),
    ),
}

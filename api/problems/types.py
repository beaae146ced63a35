"""Every kind of refusal: its status, its title, and what to do. The answer and the page that its
`type` leads to both say what stands here.
"""

from typing import NamedTuple

from django.utils.translation import gettext_noop


class ProblemType(NamedTuple):
    status: int
    title: str  # in English, as the answer has it; the page translates it
    remedy: str


TYPES: dict[str, ProblemType] = {
    "malformed-request": ProblemType(
        400,
        gettext_noop("The request is not HTTP as it should be"),
        gettext_noop(
            "`detail` says which part cannot be read. Percent-encode the address, and send it anew."
        ),
    ),
    "uri-too-long": ProblemType(
        414, gettext_noop("The address is too long"), gettext_noop("Send less in the query.")
    ),
    "headers-too-large": ProblemType(
        431,
        gettext_noop("There are too many headers, or one is too long"),
        gettext_noop("Send fewer or shorter headers, cookies among them."),
    ),
    "unauthenticated": ProblemType(
        401,
        gettext_noop("There is no valid key"),
        gettext_noop("Send a key as Authorization: Bearer KEY. It may have been revoked."),
    ),
    "missing-scope": ProblemType(
        403,
        gettext_noop("The key may not do this"),
        gettext_noop("Use a key that was made with the scope that is named."),
    ),
    "https-required": ProblemType(
        403,
        gettext_noop("This came over plain http"),
        gettext_noop(
            "Use https. A key that was sent over plain http may have been read; make a new one."
        ),
    ),
    "not-found": ProblemType(
        404,
        gettext_noop("There is nothing here"),
        gettext_noop("Check the address. What belongs to another client is not shown either."),
    ),
    "method-not-allowed": ProblemType(
        405,
        gettext_noop("This path does not take this method"),
        gettext_noop("The Allow header names those that it takes."),
    ),
    "request-timeout": ProblemType(
        408,
        gettext_noop("The body did not arrive in time"),
        gettext_noop("Send it again; nothing was written."),
    ),
    "length-required": ProblemType(
        411,
        gettext_noop("The body has no length"),
        gettext_noop("Send a Content-Length instead of a chunked body."),
    ),
    "body-too-large": ProblemType(
        413, gettext_noop("The body is too large"), gettext_noop("Send less at a time.")
    ),
    "body-incomplete": ProblemType(
        400,
        gettext_noop("The body ended early"),
        gettext_noop("Send it again; nothing was written."),
    ),
    "unsupported-media-type": ProblemType(
        415,
        gettext_noop("This kind of body is not taken here"),
        gettext_noop("Send the Content-Type that the documentation names, in UTF-8."),
    ),
    "malformed-json": ProblemType(
        400,
        gettext_noop("The body is not acceptable JSON"),
        gettext_noop(
            "`errors` names the place. NUL characters, duplicate names, "
            "NaN and very deep nesting are refused too."
        ),
    ),
    "malformed-import": ProblemType(
        400,
        gettext_noop("The file cannot be read"),
        gettext_noop(
            "`errors` says why. Send CSV with the documented columns, or one JSON object per line."
        ),
    ),
    "invalid": ProblemType(
        422,
        gettext_noop("A field is wrong"),
        gettext_noop(
            "`errors` names each field and says what is wrong with it. Nothing was written."
        ),
    ),
    "idempotency-key-required": ProblemType(
        400,
        gettext_noop("An Idempotency-Key is missing"),
        gettext_noop(
            "Send an Idempotency-Key header: a fresh UUID for each new request, "
            "the same one for a repeat."
        ),
    ),
    "idempotency-key-invalid": ProblemType(
        400,
        gettext_noop("The Idempotency-Key cannot be used"),
        gettext_noop("It must be up to 255 printable ASCII characters. A UUID is fine."),
    ),
    "idempotency-key-reused": ProblemType(
        422,
        gettext_noop("The Idempotency-Key was used for another request"),
        gettext_noop("Use a fresh key for a new request. A repeat must have the same body."),
    ),
    "request-in-progress": ProblemType(
        409,
        gettext_noop("The first request with this key is still running"),
        gettext_noop("Repeat it after the seconds in Retry-After; you will get its answer."),
    ),
    "external-id-taken": ProblemType(
        409,
        gettext_noop("The external_id belongs to an earlier order"),
        gettext_noop("The Location header leads to that order."),
    ),
    "not-cancellable": ProblemType(
        409,
        gettext_noop("The order cannot be cancelled any more"),
        gettext_noop("Everything of it is sent. Refund what should come back."),
    ),
    "not-payable": ProblemType(
        409,
        gettext_noop("The order cannot be paid now"),
        gettext_noop(
            "`detail` says how it stands. An order is paid once, while its goods are set aside, "
            "and by one payment at a time."
        ),
    ),
    "not-fulfillable": ProblemType(
        409,
        gettext_noop("The order cannot be sent now"),
        gettext_noop(
            "Only a confirmed order that is not held is sent. Wait for it, or release it."
        ),
    ),
    "already-sent": ProblemType(
        409,
        gettext_noop("The parcel is on its way to the address that stands there"),
        gettext_noop(
            "The shipping address of an order stays what it was once something of it is sent. "
            "Note another one in `note`."
        ),
    ),
    "orders-under-way": ProblemType(
        409,
        gettext_noop("An order of this person is under way"),
        gettext_noop("Nobody could send it any more. End what `detail` names, then erase."),
    ),
    "order-erased": ProblemType(
        409,
        gettext_noop("The customer was erased from the order"),
        gettext_noop(
            "Nobody could send it any more, and nothing is noted of them again. Place a new order."
        ),
    ),
    "nothing-to-refund": ProblemType(
        409,
        gettext_noop("There is nothing left to give back"),
        gettext_noop(
            "See what was given back already under the order's refunds. "
            "Goods that come back without money are named by their lines."
        ),
    ),
    "fulfilment-not-cancellable": ProblemType(
        409,
        gettext_noop("The fulfilment cannot be cancelled any more"),
        gettext_noop(
            "Something of it has come back, is announced to, or was paid back. "
            "What else should come back is announced as a return."
        ),
    ),
    "nothing-to-return": ProblemType(
        409,
        gettext_noop("There is nothing that can come back"),
        gettext_noop(
            "Only what was sent can, once. See what is announced under the order's returns; "
            "what was not sent is cancelled or refunded."
        ),
    ),
    "return-has-ended": ProblemType(
        409,
        gettext_noop("The return has ended"),
        gettext_noop("It was received or cancelled. Announce another one for what is left."),
    ),
    "too-many-returns": ProblemType(
        409,
        gettext_noop("The order has as many returns as there may be"),
        gettext_noop("Take goods back with a refund that names their lines and restocks them."),
    ),
    "too-many-imports": ProblemType(
        409,
        gettext_noop("As many imports run as may run at a time"),
        gettext_noop("Wait until one of yours is done, then send the file again."),
    ),
    "stock-reserved": ProblemType(
        409,
        gettext_noop("The goods are reserved for orders"),
        gettext_noop("Send, cancel or wait for these orders, then remove the sku."),
    ),
    "precondition-failed": ProblemType(
        412,
        gettext_noop("It is not as you expected any more"),
        gettext_noop("Read it again, decide anew, and send what you saw then."),
    ),
    "too-many-exports": ProblemType(
        409,
        gettext_noop("As many exports run as may run at a time"),
        gettext_noop("Wait until one of yours is done, then ask for the next."),
    ),
    "order-has-ended": ProblemType(
        409,
        gettext_noop("The order has ended"),
        gettext_noop("A completed or cancelled order cannot be put on hold."),
    ),
    "bad-signature": ProblemType(
        400,
        gettext_noop("The provider's signature is not valid"),
        gettext_noop("Check the signing secret and the clock of the sender."),
    ),
    "no-event": ProblemType(
        400,
        gettext_noop("It is signed, and is no event"),
        gettext_noop(
            "Send this address the provider's events only; `detail` says what is missing."
        ),
    ),
    "rate-limited": ProblemType(
        429,
        gettext_noop("Too many requests with this key"),
        gettext_noop(
            "Wait for the seconds in Retry-After. "
            "The RateLimit headers of every answer say how much is left."
        ),
    ),
    "too-many-endpoints": ProblemType(
        409,
        gettext_noop("There are as many webhook endpoints as there may be"),
        gettext_noop("Remove one that is not needed any more."),
    ),
    "too-many-secrets": ProblemType(
        409,
        gettext_noop("As many secrets sign for this endpoint as may at a time"),
        gettext_noop("Wait for an old one to end, or end them with `overlap_s` 0."),
    ),
    "job-not-changeable": ProblemType(
        409,
        gettext_noop("The job is not in a state for this"),
        gettext_noop("`detail` says in which it is. Read it again before you try once more."),
    ),
    "transfer-coding-unsupported": ProblemType(
        501,
        gettext_noop("The body comes in a coding that is not understood"),
        gettext_noop("Send it as it is, with a Content-Length."),
    ),
    "expectation-failed": ProblemType(
        417,
        gettext_noop("The request expects what cannot be"),
        gettext_noop("The only Expect that is understood is 100-continue."),
    ),
    "proxy-forbidden": ProblemType(
        403,
        gettext_noop("No PROXY line is taken from this address"),
        gettext_noop("Speak HTTP without one."),
    ),
    "refused": ProblemType(
        400,
        gettext_noop("The request cannot be carried out as things are"),
        gettext_noop("`detail` says why. Nothing was changed."),
    ),
    "internal": ProblemType(
        500,
        gettext_noop("Something went wrong on our side"),
        gettext_noop(
            "It has been logged under the request_id. "
            "A repeat with the same Idempotency-Key is safe."
        ),
    ),
    "unavailable": ProblemType(
        503,
        gettext_noop("This cannot be taken just now"),
        gettext_noop("Repeat it after the seconds in Retry-After, with the same Idempotency-Key."),
    ),
}

# The kind of a refusal that Django made by itself, of which nothing but the status is known.
OF_STATUS = {
    400: "malformed-request",
    **{
        problem.status: slug
        for slug, problem in TYPES.items()
        if problem.status in (404, 405, 408, 411, 413, 415, 429, 500)
    },
}

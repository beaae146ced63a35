"""Stripe behind the provider's door: one PaymentIntent per operation, made and confirmed in one
call.

The order's token is a payment method (`pm_…`). Why a charge is found by listing, and why it is safe
to send it again: docs/adr/0012. Retries belong to the ledger, so the SDK makes none. Every call has
a connection of its own: one that was kept, and that Stripe has closed meanwhile, would turn a
charge that was never sent into one that is unknown.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import stripe
from django.conf import settings
from django.utils import timezone

from orders.payments.provider import (
    Charge,
    ChargeStatus,
    Intent,
    ProviderRefused,
    ProviderUnavailable,
    Taken,
)
from orders.payments.stripe_amounts import from_stripe, to_stripe
from values.ids import uuid_in

stripe.enable_telemetry = False  # it would write an id into the home folder and report our timings

STATUSES = {
    "succeeded": ChargeStatus.SUCCEEDED,
    "processing": ChargeStatus.PENDING,
    "requires_action": ChargeStatus.PENDING,
    "requires_confirmation": ChargeStatus.PENDING,
    "requires_payment_method": ChargeStatus.DECLINED,
    "canceled": ChargeStatus.DECLINED,
}
REFUND_STATUSES = {
    "succeeded": ChargeStatus.SUCCEEDED,
    "pending": ChargeStatus.PENDING,
    "requires_action": ChargeStatus.PENDING,
    "failed": ChargeStatus.DECLINED,
    "canceled": ChargeStatus.DECLINED,
}
PAGE_SIZE = 100
USED_UP = "may not be used again"


class Stripe:
    name = "stripe"

    def charge(self, intent: Intent) -> Charge:
        params: Any = {
            "amount": to_stripe(intent.amount, intent.currency),
            "currency": intent.currency.lower(),
            "payment_method": intent.token,
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "metadata": intent.metadata,
        }
        if settings.STRIPE_REDIRECTS:
            params["automatic_payment_methods"]["allow_redirects"] = "always"
            params["return_url"] = intent.return_url
        with calling() as client:
            try:
                made = client.v1.payment_intents.create(params, {"idempotency_key": intent.key})
            except stripe.CardError as exc:
                return declined(exc, intent)
            except stripe.InvalidRequestError as exc:
                if refuses_token(exc):
                    return never_made(intent, reason_of(as_dict(exc.error)))
                raise
        return as_charge(made.to_dict(), intent)

    def find(self, intent: Intent) -> Charge | None:
        with calling() as client:
            if intent.reference:
                # the charge says whether it is disputed, and what went back
                params: Any = {"expand": ["latest_charge", "latest_charge.refunds"]}
                made = client.v1.payment_intents.retrieve(intent.reference, params).to_dict()
                return replace(as_charge(made, intent), disputes=disputes_of(client, made))
            return look_through(client, intent)

    def call_off(self, intent: Intent) -> Charge | None:
        with calling() as client:
            try:
                made = client.v1.payment_intents.cancel(
                    intent.reference, {"cancellation_reason": "abandoned"}
                ).to_dict()
            except stripe.InvalidRequestError:  # it has been decided meanwhile
                made = client.v1.payment_intents.retrieve(intent.reference).to_dict()
        return as_charge(made, intent)

    def refund(self, intent: Intent) -> Charge:
        """One that Stripe will never make (the money went back from its own pages, say) is declined
        in its words.
        """
        try:
            amount = to_stripe(intent.amount, intent.currency)
        except ProviderRefused as exc:
            return never_made(intent, str(exc))
        params: Any = {
            "payment_intent": intent.token,
            "amount": amount,
            "metadata": intent.metadata,
        }
        with calling() as client:
            try:
                made = client.v1.refunds.create(params, {"idempotency_key": intent.key}).to_dict()
            except stripe.InvalidRequestError as exc:
                return never_made(intent, message_of(exc))
        return as_refund(made, intent)

    def find_refund(self, intent: Intent) -> Charge | None:
        """A payment has few refunds: those of ours are on its first page."""
        with calling() as client:
            if intent.reference:
                return as_refund(client.v1.refunds.retrieve(intent.reference).to_dict(), intent)
            params: Any = {"payment_intent": intent.token, "limit": PAGE_SIZE}
            for made in client.v1.refunds.list(params).data:
                if as_dict(made.metadata).get("operation") == intent.metadata["operation"]:
                    return as_refund(made.to_dict(), intent)
        return None

    def taken(self, since: datetime) -> Iterator[Taken]:
        with calling() as client:
            for made in made_since(client, since):
                if made.status == "succeeded":
                    yield as_taken(made.to_dict())


@contextmanager
def calling() -> Iterator[stripe.StripeClient]:
    """A client for one call; what goes wrong with it is said in the provider's terms."""
    http = stripe.RequestsClient(timeout=settings.PAYMENT_TIMEOUT_S)
    client = stripe.StripeClient(
        settings.STRIPE_SECRET_KEY,
        base_addresses={"api": settings.STRIPE_API_BASE},
        max_network_retries=0,
        http_client=http,
    )
    try:
        yield client
    except (
        stripe.APIConnectionError,
        stripe.RateLimitError,
        stripe.APIError,
    ) as exc:  # also 409 and 5xx
        raise ProviderUnavailable(message_of(exc)) from exc
    except stripe.StripeError as exc:
        raise ProviderRefused(message_of(exc)) from exc
    finally:
        http.close()  # type: ignore[no-untyped-call]


def look_through(client: stripe.StripeClient, intent: Intent) -> Charge | None:
    """Every payment since we meant to make this one, newest first; lists are current where Stripe's
    search lags.
    """
    since = intent.intended_at - timedelta(seconds=settings.STRIPE_CLOCK_SKEW_S)
    looked_at = settings.STRIPE_FIND_MAX_PAGES * PAGE_SIZE
    for number, made in enumerate(made_since(client, since)):
        if number == looked_at:
            break
        if as_dict(made.metadata).get("operation") == intent.metadata["operation"]:
            return as_charge(made.to_dict(), intent)
    else:
        return None
    raise ProviderRefused(
        f"Stripe has more than {looked_at} payments since {since:%Y-%m-%d %H:%M} UTC, "
        "too many to look for one without its id. "
        f"Search Stripe for metadata operation {intent.metadata['operation']}."
    )


def made_since(client: stripe.StripeClient, since: datetime) -> Iterator[stripe.PaymentIntent]:
    """Every payment, whoever made it, the newest first, a page at a time."""
    params: Any = {"created": {"gte": int(since.timestamp())}, "limit": PAGE_SIZE}
    while True:
        page = client.v1.payment_intents.list(params)
        yield from page.data
        if not page.has_more:
            return
        params["starting_after"] = page.data[-1].id


def as_taken(made: Mapping[str, Any]) -> Taken:
    currency = made["currency"].upper()
    return Taken(
        id=made["id"],
        amount=from_stripe(made["amount_received"], currency),
        currency=currency,
        made_at=datetime.fromtimestamp(made["created"], UTC),
        operation=uuid_in((made.get("metadata") or {}).get("operation")),
    )


def as_charge(made: Mapping[str, Any], intent: Intent) -> Charge:
    status, failure = made["status"], made.get("last_payment_error") or {}
    if status not in STATUSES:
        raise ProviderRefused(
            f"Stripe says that {made['id']} is {status}, which a charge of ours never is."
        )
    standing = STATUSES[status]
    if status == "requires_payment_method" and not failure:
        standing = ChargeStatus.PENDING  # seen in the middle of being made: nobody has declined it
    amount = made["amount_received"] if standing == ChargeStatus.SUCCEEDED else made["amount"]
    reason = (
        made.get("cancellation_reason") or "canceled"
        if status == "canceled"
        else reason_of(failure)
    )
    return Charge(
        id=made["id"],
        key=intent.key,
        amount=from_stripe(amount, intent.currency),
        currency=intent.currency,
        status=standing,
        reason=reason if standing == ChargeStatus.DECLINED else "",
        action_required=status == "requires_action",
        action=action_of(made),
        may_take_until=may_take_until(made),
        revivable=status == "requires_payment_method" and bool(failure),
        refunded=refunded_of(made.get("latest_charge"), intent.currency),
        refunds=refunds_by_hand(made.get("latest_charge"), intent),
    )


def action_of(made: Mapping[str, Any]) -> dict[str, str | None] | None:
    """What Stripe.js, or a page of the bank, needs of the customer."""
    asked = made.get("next_action")
    if not asked:
        return None
    details = asked.get(asked["type"]) or {}
    url = details.get("url") or details.get("hosted_voucher_url")
    return {"type": asked["type"], "url": url, "client_secret": made.get("client_secret")}


def may_take_until(made: Mapping[str, Any]) -> datetime | None:
    """A bank may be at it for days, and a voucher is paid while it is valid."""
    if made["status"] == "processing":
        return timezone.now() + settings.PROCESSING_KEEP
    asked = made.get("next_action") or {}
    ends_at = (asked.get(asked.get("type")) or {}).get("expires_at")
    return ends_at and datetime.fromtimestamp(ends_at, UTC) + settings.VOUCHER_GRACE


def disputes_of(client: stripe.StripeClient, made: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids of those that its expanded charge says it has, the newest first; on one page."""
    charge = made.get("latest_charge")
    if not (isinstance(charge, Mapping) and charge.get("disputed")):
        return ()
    params: Any = {"payment_intent": made["id"], "limit": PAGE_SIZE}
    return tuple(dispute.id for dispute in client.v1.disputes.list(params).data)


def refunded_of(charge: Any, currency: str) -> int | None:
    """Known only where the charge was expanded; otherwise it is an id."""
    return from_stripe(charge["amount_refunded"], currency) if isinstance(charge, Mapping) else None


def refunds_by_hand(charge: Any, intent: Intent) -> tuple[Charge, ...]:
    """Those made on Stripe's own pages, the newest ten at most: they name no operation."""
    listed = (charge.get("refunds") or {}) if isinstance(charge, Mapping) else {}
    return tuple(
        as_refund(made, intent)
        for made in listed.get("data", ())
        if not (made.get("metadata") or {}).get("operation")
    )


def as_refund(made: Mapping[str, Any], intent: Intent) -> Charge:
    standing = REFUND_STATUSES[made["status"]]
    return Charge(
        id=made["id"],
        key=intent.key,
        amount=from_stripe(made["amount"], intent.currency),
        currency=intent.currency,
        status=standing,
        reason=str(made.get("failure_reason") or "refused")
        if standing == ChargeStatus.DECLINED
        else "",
    )


def declined(exc: stripe.CardError, intent: Intent) -> Charge:
    """A 402: the payment exists and has failed."""
    error = as_dict(exc.error)
    made = error.get("payment_intent") or {}
    return Charge(
        id=made.get("id", ""),
        key=intent.key,
        amount=intent.amount,
        currency=intent.currency,
        status=ChargeStatus.DECLINED,
        reason=reason_of(error),
    )


def refuses_token(exc: stripe.InvalidRequestError) -> bool:
    """Whether it is the payment method that cannot be charged: nobody knows it, it is of another
    kind or another customer's, or it was used before, of which alone Stripe names no parameter.
    """
    return exc.param == "payment_method" or USED_UP in str(exc)


def never_made(intent: Intent, reason: str) -> Charge:
    """A charge or a refund that does not exist, and will not."""
    return Charge(
        id="",
        key=intent.key,
        amount=intent.amount,
        currency=intent.currency,
        status=ChargeStatus.DECLINED,
        reason=reason,
    )


def reason_of(failure: Mapping[str, Any]) -> str:
    """The bank's word for it where there is one."""
    return str(failure.get("decline_code") or failure.get("code") or "declined")


def as_dict(thing: stripe.StripeObject | Mapping[str, Any] | None) -> Mapping[str, Any]:
    return thing.to_dict() if isinstance(thing, stripe.StripeObject) else thing or {}


def message_of(exc: stripe.StripeError) -> str:
    """On one line, with the number under which Stripe keeps the request; or what became of the
    connection.
    """
    if isinstance(exc, stripe.APIConnectionError):
        return f"Stripe does not answer: {' '.join(str(exc.__cause__ or exc).split())}"
    status = f"{exc.http_status}: " if exc.http_status else ""
    return f"Stripe: {status}{' '.join(str(exc).split())}"

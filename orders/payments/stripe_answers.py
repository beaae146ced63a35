"""What Stripe's answers mean: its objects and errors, as the charges and refunds that we know."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import stripe
from django.conf import settings
from django.utils import timezone

from orders.payments.provider import Charge, ChargeStatus, Intent, ProviderRefused, Taken
from orders.payments.stripe_amounts import from_stripe
from values.ids import uuid_in

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
USED_UP = "may not be used again"


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
    return Charge(
        id=made["id"],
        key=intent.key,
        amount=from_stripe(amount, intent.currency),
        currency=intent.currency,
        status=standing,
        reason=why_declined(made) if standing == ChargeStatus.DECLINED else "",
        action_required=status == "requires_action",
        action=action_of(made),
        may_take_until=may_take_until(made),
        still_payable=status == "requires_payment_method" and bool(failure),
        refunded=refunded_of(made.get("latest_charge"), intent.currency),
        refunds=refunds_by_hand(made.get("latest_charge"), intent),
    )


def why_declined(made: Mapping[str, Any]) -> str:
    if made["status"] == "canceled":
        return made.get("cancellation_reason") or "canceled"
    return reason_of(made.get("last_payment_error") or {})


def action_of(made: Mapping[str, Any]) -> dict[str, str | None] | None:
    """What Stripe.js, or a page of the bank, needs of the customer."""
    asked = made.get("next_action")
    if not asked:
        return None
    details = asked.get(asked["type"]) or {}
    url = details.get("url") or details.get("hosted_voucher_url")
    return {"type": asked["type"], "url": url, "client_secret": made.get("client_secret")}


def may_take_until(made: Mapping[str, Any]) -> datetime | None:
    """Until when the money may still come: a bank may be at it for days, and a voucher is paid
    while it is valid. None where it comes at once.
    """
    if made["status"] == "processing":
        return timezone.now() + settings.PROCESSING_KEEP
    asked = made.get("next_action") or {}
    ends_at = (asked.get(asked.get("type")) or {}).get("expires_at")
    return ends_at and datetime.fromtimestamp(ends_at, UTC) + settings.VOUCHER_GRACE


def refunded_of(charge: Any, currency: str) -> int | None:
    """How much of this charge went back; None where it was not expanded, and is only an id."""
    if not isinstance(charge, Mapping):
        return None
    return from_stripe(charge["amount_refunded"], currency)


def refunds_by_hand(charge: Any, intent: Intent) -> tuple[Charge, ...]:
    """The refunds of a charge that were made on Stripe's own pages, and so name no operation; the
    newest ten at most.
    """
    listed = (charge.get("refunds") or {}) if isinstance(charge, Mapping) else {}
    return tuple(
        as_refund(made, intent)
        for made in listed.get("data", ())
        if not (made.get("metadata") or {}).get("operation")
    )


def as_refund(made: Mapping[str, Any], intent: Intent) -> Charge:
    standing = REFUND_STATUSES[made["status"]]
    reason = str(made.get("failure_reason") or "refused")
    return Charge(
        id=made["id"],
        key=intent.key,
        amount=from_stripe(made["amount"], intent.currency),
        currency=intent.currency,
        status=standing,
        reason=reason if standing == ChargeStatus.DECLINED else "",
    )


def declined(exc: stripe.CardError, intent: Intent) -> Charge:
    """The charge of a payment that exists and has failed: Stripe answers 402."""
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
    """Whether Stripe refuses the payment method: nobody knows it, it is of another kind or another
    customer's, or it was used before. In the last case alone Stripe names no parameter.
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
    """Why a payment failed: in the bank's word where there is one, else in Stripe's."""
    return str(failure.get("decline_code") or failure.get("code") or "declined")


def as_dict(thing: stripe.StripeObject | Mapping[str, Any] | None) -> Mapping[str, Any]:
    return thing.to_dict() if isinstance(thing, stripe.StripeObject) else thing or {}


def message_of(exc: stripe.StripeError) -> str:
    """The error on one line, with the number under which Stripe keeps the request; or what became
    of the connection.
    """
    if isinstance(exc, stripe.APIConnectionError):
        return f"Stripe does not answer: {' '.join(str(exc.__cause__ or exc).split())}"
    status = f"{exc.http_status}: " if exc.http_status else ""
    return f"Stripe: {status}{' '.join(str(exc).split())}"

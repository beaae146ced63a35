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
from datetime import datetime, timedelta
from typing import Any

import stripe
from django.conf import settings

from orders.payments.provider import Charge, Intent, ProviderRefused, ProviderUnavailable, Taken
from orders.payments.stripe_amounts import to_stripe
from orders.payments.stripe_answers import (
    as_charge,
    as_dict,
    as_refund,
    as_taken,
    declined,
    message_of,
    never_made,
    reason_of,
    refuses_token,
)

stripe.enable_telemetry = False  # it would write an id into the home folder and report our timings

PAGE_SIZE = 100
# an APIError is a 409 or a 5xx
UNAVAILABLE = (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError)


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
        """A refund that Stripe will never make (the money went back from its own pages, say) is
        declined, in Stripe's words.
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
        """As `Provider` has it. A payment has few refunds: ours are on its first page."""
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
    """A client for one call; Stripe's errors become ProviderUnavailable and ProviderRefused."""
    http = stripe.RequestsClient(timeout=settings.PAYMENT_TIMEOUT_S)
    client = stripe.StripeClient(
        settings.STRIPE_SECRET_KEY,
        base_addresses={"api": settings.STRIPE_API_BASE},
        max_network_retries=0,
        http_client=http,
    )
    try:
        yield client
    except UNAVAILABLE as exc:
        raise ProviderUnavailable(message_of(exc)) from exc
    except stripe.StripeError as exc:
        raise ProviderRefused(message_of(exc)) from exc
    finally:
        http.close()  # type: ignore[no-untyped-call]


def look_through(client: stripe.StripeClient, intent: Intent) -> Charge | None:
    """The charge that was made for this intent, among all payments since we meant to make it, the
    newest first; None where there is none. Lists are current where Stripe's search lags. Raises
    ProviderRefused after STRIPE_FIND_MAX_PAGES.
    """
    since = intent.intended_at - timedelta(seconds=settings.STRIPE_CLOCK_SKEW_S)
    looked_at = settings.STRIPE_FIND_MAX_PAGES * PAGE_SIZE
    for number, made in enumerate(made_since(client, since)):
        if number == looked_at:
            raise ProviderRefused(
                f"Stripe has more than {looked_at} payments since {since:%Y-%m-%d %H:%M} UTC, "
                "too many to look for one without its id. "
                f"Search Stripe for metadata operation {intent.metadata['operation']}."
            )
        if as_dict(made.metadata).get("operation") == intent.metadata["operation"]:
            return as_charge(made.to_dict(), intent)
    return None


def made_since(client: stripe.StripeClient, since: datetime) -> Iterator[stripe.PaymentIntent]:
    """Every payment, whoever made it, the newest first, a page at a time."""
    params: Any = {"created": {"gte": int(since.timestamp())}, "limit": PAGE_SIZE}
    while True:
        page = client.v1.payment_intents.list(params)
        yield from page.data
        if not page.has_more:
            return
        params["starting_after"] = page.data[-1].id


def disputes_of(client: stripe.StripeClient, made: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids of a payment's disputes, the newest first; a page of them at most. Empty unless its
    expanded charge is disputed.
    """
    charge = made.get("latest_charge")
    if not (isinstance(charge, Mapping) and charge.get("disputed")):
        return ()
    params: Any = {"payment_intent": made["id"], "limit": PAGE_SIZE}
    return tuple(dispute.id for dispute in client.v1.disputes.list(params).data)

"""The sandbox provider: a payment provider in the box, with a book of charges of its own.

Its tables (`sandbox_book`) stand for the provider's side of the world; nothing but this file reads
or writes them, and it commits by itself, as a remote system would. The token says how it behaves:

tok_ok             charges
tok_declined       declines
tok_slow           charges after SANDBOX_SLOW_S
tok_timeout        charges, then never answers
tok_flaky          fails twice, then charges
tok_webhook_first  sends the webhook, then answers
tok_webhook_twice  answers "pending", having sent the same webhook twice
tok_webhook_never  answers "pending"; only asking tells that it has charged
tok_confirm        waits until the customer has said yes or no on the bank's page (`decide`)
"""

import time
from collections.abc import Iterator
from datetime import datetime
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from celery_ledger import outside
from orders.payments.provider import (
    Charge,
    ChargeStatus,
    EventNotice,
    Intent,
    ProviderUnavailable,
    Taken,
)
from orders.payments.sandbox_book import WAITING, SandboxCharge, SandboxFailure, SandboxRefund
from orders.tasks import record_provider_event
from values.ids import uuid_in

TOKENS = (
    "tok_ok",
    "tok_declined",
    "tok_slow",
    "tok_timeout",
    "tok_flaky",
    "tok_webhook_first",
    "tok_webhook_twice",
    "tok_webhook_never",
)
NEEDS_CONFIRMATION = "tok_confirm"  # no token of TOKENS waits for anybody
TAKEN = {*TOKENS, NEEDS_CONFIRMATION} - {"tok_declined"}
FLAKY_FAILURES = 2


class Sandbox:
    name = "sandbox"

    def charge(self, intent: Intent) -> Charge:
        if intent.token == "tok_slow":  # noqa: S105 - tokens of the sandbox are public
            self._take_its_time(settings.SANDBOX_SLOW_S)
        if intent.token == "tok_flaky" and self._fails_again(intent.key):  # noqa: S105
            raise ProviderUnavailable("503 from the sandbox")
        made = self._book(intent)
        if intent.token == "tok_timeout":  # noqa: S105
            self._take_its_time(settings.PAYMENT_TIMEOUT_S)
            raise ProviderUnavailable(f"no answer within {settings.PAYMENT_TIMEOUT_S:g} s")
        return self._answer(intent, made)

    def find(self, intent: Intent) -> Charge | None:
        made = SandboxCharge.objects.filter(key=intent.key).first()
        return made.as_charge() if made else None

    def read(self, charge_id: str) -> SandboxCharge | None:
        return SandboxCharge.objects.filter(pk=charge_id).first()

    def call_off(self, intent: Intent) -> Charge | None:
        made = SandboxCharge.objects.filter(key=intent.key).first()
        return self._decided(made, "abandoned").as_charge() if made else None

    def decide(self, charge: SandboxCharge, *, confirmed: bool) -> SandboxCharge:
        """Note what the customer has decided on the bank's page; the first decision counts."""
        made = self._decided(charge, "" if confirmed else "not_confirmed")
        self._send_webhook(made)
        return made

    def _decided(self, charge: SandboxCharge, reason: str) -> SandboxCharge:
        status = ChargeStatus.DECLINED if reason else ChargeStatus.SUCCEEDED
        waiting = SandboxCharge.objects.filter(pk=charge.pk, status=WAITING)
        waiting.update(status=status, reason=reason)
        return SandboxCharge.objects.get(pk=charge.pk)

    def refund(self, intent: Intent) -> Charge:
        """A refund that would give back more than was charged is declined, whoever asks."""
        with transaction.atomic():
            charge = SandboxCharge.objects.select_for_update().get(pk=intent.token)
            if made := self.find_refund(intent):
                return made
            succeeded = charge.refunds.filter(status=ChargeStatus.SUCCEEDED)
            given = succeeded.aggregate(sum=Sum("amount"))["sum"] or 0
            was_taken = charge.status == ChargeStatus.SUCCEEDED
            fits = was_taken and given + intent.amount <= charge.amount
            return SandboxRefund.objects.create(
                id=f"re_{uuid4().hex[:16]}",
                key=intent.key,
                charge=charge,
                amount=intent.amount,
                currency=intent.currency,
                status=ChargeStatus.SUCCEEDED if fits else ChargeStatus.DECLINED,
                reason="" if fits else "more_than_charged",
            ).as_charge()

    def find_refund(self, intent: Intent) -> Charge | None:
        made = SandboxRefund.objects.filter(key=intent.key).first()
        return made.as_charge() if made else None

    def taken(self, since: datetime) -> Iterator[Taken]:
        made = SandboxCharge.objects.filter(created_at__gte=since, status=ChargeStatus.SUCCEEDED)
        yield from map(_taken, made.order_by("-created_at").iterator())

    def newest(self, limit: int) -> list[Taken]:
        """Those of its newest charges, of which it looks at `limit`, that took money."""
        made = SandboxCharge.objects.order_by("-created_at")[:limit]
        return [_taken(one) for one in made if one.status == ChargeStatus.SUCCEEDED]

    def _book(self, intent: Intent) -> SandboxCharge:
        """Write the charge into the book, or find the one that this key has made."""
        is_listed, declined = intent.token in TOKENS, intent.token not in TAKEN
        waits = intent.token == NEEDS_CONFIRMATION
        outcome = ChargeStatus.DECLINED if declined else ChargeStatus.SUCCEEDED
        reason = "card_declined" if is_listed else "unknown_token"
        new = SandboxCharge(
            id=f"ch_{uuid4().hex[:16]}",
            key=intent.key,
            amount=intent.amount,
            currency=intent.currency,
            status=WAITING if waits else outcome,
            reason=reason if declined else "",
            metadata=intent.metadata,
        )
        SandboxCharge.objects.bulk_create([new], ignore_conflicts=True)
        return SandboxCharge.objects.get(key=intent.key)

    def _answer(self, intent: Intent, made: SandboxCharge) -> Charge:
        if intent.token in ("tok_webhook_first", "tok_webhook_twice"):
            for _ in range(2 if intent.token == "tok_webhook_twice" else 1):  # noqa: S105
                self._send_webhook(made)
        if intent.token in ("tok_webhook_twice", "tok_webhook_never"):
            return Charge(made.id, made.key, made.amount, made.currency, ChargeStatus.PENDING)
        return made.as_charge()

    def _take_its_time(self, seconds: float) -> None:
        with outside():
            time.sleep(seconds)

    def _fails_again(self, key: str) -> bool:
        with transaction.atomic():
            failures, _ = SandboxFailure.objects.select_for_update().get_or_create(key=key)
            failures.count += 1
            failures.save(update_fields=["count"])
        return failures.count <= FLAKY_FAILURES

    def _send_webhook(self, made: SandboxCharge) -> None:
        """In the box there is no wire: the event is recorded as the webhook's view records one."""
        record_provider_event(self.name, EventNotice(event_id=f"evt_{made.id}", key=made.key))


def _taken(one: SandboxCharge) -> Taken:
    operation = uuid_in(one.metadata.get("operation"))
    return Taken(one.id, one.amount, one.currency, one.created_at, operation)

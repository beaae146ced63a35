"""What tests of Stripe share: an intent, and waiting until its events are heard."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from celery_ledger.testing import work_off
from orders.payments.provider import Intent
from orders.payments.provider_event import ProviderEvent
from tests.waiting import until

HALF_A_DAY = timedelta(hours=12)


def intent_of(**changes: Any) -> Intent:
    fields = {
        "key": f"{uuid4()}-charge",
        "amount": 660,
        "currency": "JPY",
        "token": "pm_card_visa",
        "intended_at": timezone.now(),
        "metadata": {"order": str(uuid4()), "operation": str(uuid4())},
    }
    return Intent(**{**fields, **changes})


def heard(kinds: int) -> Callable[[], bool]:
    return lambda: ProviderEvent.objects.count() >= kinds


def work_off_and_listen(events: int = 3) -> None:
    """Also what rings while we work, and after it."""
    work_off()
    until(heard(events), f"{events} events are heard", within_s=10)
    work_off(ahead=HALF_A_DAY)

"""Mails and webhooks that are sent again from an order's page."""

from typing import Any
from uuid import UUID

from django.db import transaction

from notifications import tasks
from notifications.models import Delivery
from ops.models import StaffAction


def send_again(delivery_id: UUID, *, by: Any) -> bool:
    """A mail or webhook that has ended, under the same id as before. False when it is on its way
    already, was asked for a moment ago, or has nowhere to go.
    """
    with transaction.atomic():
        one = Delivery.objects.select_related("event").get(pk=delivery_id)
        chosen = Delivery.objects.retryable(since=one.created_at, everything=True).filter(pk=one.pk)
        count, _more = tasks.send_again(chosen, one.endpoint_id, everything=True)
        if count:
            StaffAction.note(
                by,
                "send_again",
                one.event.subject,
                said={"what": f"{one.event.kind}, {one.channel}"},
                before={"delivery": one.state},
                after={"delivery": Delivery.State.WAITING},
            )
    return bool(count)

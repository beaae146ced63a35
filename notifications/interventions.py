"""What people ask for: a test of an endpoint, that deliveries are sent again, or come in order from
now on. Each function runs in a transaction of its caller.
"""

from datetime import datetime
from typing import Any

from uuid_utils.compat import uuid7

from celery_ledger import bulk
from notifications.models import Delivery, Endpoint, Event
from notifications.models.deliveries.queryset import DeliveryQuerySet
from notifications.tasks import post_webhook, promise_resend, put_line_in_order, start


def test(endpoint_id: Any) -> Delivery:
    """A test on its way to this endpoint: a new one, unless the newest is still under way."""
    endpoint = Endpoint.objects.locked(endpoint_id)
    newest = Event.objects.timeline(endpoint.pk).last()
    waiting = newest and newest.deliveries.filter(state=Delivery.State.WAITING).first()
    if waiting:
        return waiting
    event = Event.objects.test(endpoint, after=newest)
    delivery = Delivery.objects.create(
        event=event,
        channel=Delivery.Channel.WEBHOOK,
        target=str(endpoint.pk),
        endpoint=endpoint,
        job=uuid7(),
    )
    start(post_webhook, delivery.pk, job=delivery.job)
    return delivery


def replay(endpoint_id: Any, *, since: datetime, everything: bool) -> tuple[int, bool]:
    """Send again to this endpoint what has failed since then, or everything: how many deliveries,
    and whether another call finds more.
    """
    found = Delivery.objects.retryable(since=since, everything=everything)
    return send_again(found, endpoint_id, everything=everything)


def send_again(
    chosen: DeliveryQuerySet, endpoint_id: Any | None, *, everything: bool = False
) -> tuple[int, bool]:
    """Send again those of `chosen`, which are `retryable`, that go to this endpoint, or with None
    by mail: up to WEBHOOK_REPLAY_MAX, in the bulk queue. How many, and whether more are left.
    """
    endpoint = Endpoint.objects.locked(endpoint_id) if endpoint_id else None
    channel = Delivery.Channel.WEBHOOK if endpoint_id else Delivery.Channel.MAIL
    of_target = chosen.filter(endpoint=endpoint_id, channel=channel)
    count, more = Delivery.objects.ask_again(of_target, everything=everything)
    if count and endpoint and endpoint.ordered:
        Delivery.objects.filter(endpoint=endpoint, resend=True).put_in_order()
    if count:
        with bulk():
            promise_resend(str(endpoint_id or ""))
    return count, more


def put_in_order(endpoint_id: Any) -> None:
    """An endpoint wants an order from now on, also of what waits for it: in the bulk queue."""
    with bulk():
        put_line_in_order.delay(str(endpoint_id))

"""Telling: an event becomes deliveries, and each delivery is tried until it arrives or is given up."""

from collections.abc import Callable
from typing import Any

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings

from jobs.execution import settle
from notifications import mail, webhooks
from notifications.models import Delivery, Endpoint, Event, NotDelivered

PATIENT = {
    "autoretry_for": (NotDelivered, SoftTimeLimitExceeded),
    "max_retries": settings.DELIVERY_MAX_RETRIES,
    "retry_backoff": settings.DELIVERY_BACKOFF_S,
    "retry_backoff_max": settings.DELIVERY_BACKOFF_CAP_S,
}


@shared_task
def announce(event_id: str) -> None:
    """Write one delivery per target, and its job."""
    event = Event.objects.get(pk=event_id)
    recipients = [{"target": address} for address in mail.recipients(event)]
    endpoints = [
        {"target": str(endpoint.pk), "endpoint": endpoint} for endpoint in Endpoint.objects.listening_to(event)
    ]
    for delivery in Delivery.objects.prepare(event, Delivery.Channel.MAIL, recipients):
        _start(send_mail, delivery)
    for delivery in Delivery.objects.prepare(event, Delivery.Channel.WEBHOOK, endpoints):
        _start(post_webhook, delivery)


@shared_task(atomic=False, **PATIENT)
def send_mail(delivery_id: str) -> None:
    _deliver(delivery_id, mail.send)


@shared_task(atomic=False, **PATIENT)
def post_webhook(delivery_id: str) -> None:
    _deliver(delivery_id, webhooks.post)


@shared_task
def give_up(delivery_id: str) -> None:
    """The last try failed: say so on the delivery."""
    Delivery.objects.locked(delivery_id).give_up()


def _deliver(delivery_id: str, send: Callable[[Delivery], str]) -> None:
    """One try, with its outcome written down whichever way it went."""
    delivery = Delivery.objects.select_related("event", "endpoint").get(pk=delivery_id)
    if delivery.state != Delivery.State.WAITING:
        return
    if delivery.endpoint and not delivery.endpoint.active:
        with settle():
            delivery.give_up()
        return
    try:
        answer = send(delivery)
    except (NotDelivered, SoftTimeLimitExceeded) as exc:
        delivery.stumble(str(exc))
        raise
    with settle():
        delivery.succeed(answer)


def _start(task: Any, delivery: Delivery) -> None:
    task.apply_async((str(delivery.pk),), link_error=give_up.si(str(delivery.pk)))

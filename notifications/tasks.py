"""Telling: an event becomes deliveries, and each delivery is tried until it arrives or is given up."""

from collections.abc import Callable
from typing import Any

from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded

from jobs.execution import settle
from notifications import mail, webhooks
from notifications.models import Delivery, Endpoint, Event, NotDelivered


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


@shared_task(bind=True, atomic=False, max_retries=None)  # the delivery counts its tries
def send_mail(self: Task, delivery_id: str) -> None:
    _deliver(self, delivery_id, mail.send)


@shared_task(bind=True, atomic=False, max_retries=None)
def post_webhook(self: Task, delivery_id: str) -> None:
    _deliver(self, delivery_id, webhooks.post)


@shared_task
def give_up(delivery_id: str) -> None:
    """Its job died: say so on the delivery."""
    Delivery.objects.locked(delivery_id).give_up()


def _deliver(task: Task, delivery_id: str, send: Callable[[Delivery], str]) -> None:
    """One try, with its outcome written down whichever way it went."""
    delivery = Delivery.objects.select_related("event", "endpoint").get(pk=delivery_id)
    if delivery.state != Delivery.State.WAITING:
        return
    if delivery.is_hopeless or delivery.is_unwanted:
        with settle():
            delivery.give_up()
        return
    if delivery.endpoint and (rest_s := Endpoint.objects.take_turn(delivery.endpoint)):
        raise task.retry(countdown=rest_s)
    try:
        answer = send(delivery)
    except (NotDelivered, SoftTimeLimitExceeded) as exc:
        delivery.stumble(str(exc))
        raise task.retry(exc=exc, countdown=delivery.pause_s) from exc
    with settle():
        delivery.succeed(answer)


def _start(task: Any, delivery: Delivery) -> None:
    task.apply_async((str(delivery.pk),), link_error=give_up.si(str(delivery.pk)))

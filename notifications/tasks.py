"""Telling: an event becomes deliveries, and each delivery is tried until it arrives or is given up."""

from collections.abc import Callable
from typing import Any

from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings

from jobs import lanes
from jobs.execution import settle
from jobs.models import Job
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
        bring(delivery)


def bring(delivery: Delivery) -> None:
    """Promise the job of a webhook, due when its endpoint may be called."""
    place_s = Endpoint.objects.take_place(delivery.endpoint) if delivery.endpoint else 0.0
    _start(post_webhook, delivery, countdown=min(place_s, delivery.time_left_s))


@shared_task(bind=True, atomic=False, max_retries=None)  # the delivery counts its tries
def send_mail(self: Task, delivery_id: str) -> None:
    _deliver(self, delivery_id, mail.send)


@shared_task(bind=True, atomic=False, max_retries=None)
def post_webhook(self: Task, delivery_id: str) -> None:
    _deliver(self, delivery_id, webhooks.post)


def call_up(endpoint_id: Any) -> None:
    """An endpoint has recovered: whoever stands in line for it comes, in the room that other work leaves."""
    with lanes.bulk():
        call_up_line.delay(str(endpoint_id))


@shared_task
def call_up_line(endpoint_id: str, after: str | None = None) -> None:
    """Some of the line a second, as long as the endpoint stays well."""
    if Endpoint.objects.filter(pk=endpoint_id, failures=0).exists():
        line = Delivery.objects.in_line(endpoint_id, after=after, limit=settings.JOBS_BATCH)
        Job.objects.hasten([delivery.job for delivery in line if delivery.job], queue=settings.JOBS_BULK_QUEUE)
        if len(line) == settings.JOBS_BATCH:
            pace = {"countdown": settings.ENDPOINT_CALL_UP_PACE_S}
            call_up_line.apply_async((endpoint_id, str(line[-1].pk)), **pace)


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
    if delivery.endpoint and (place_s := Endpoint.objects.take_turn(delivery.endpoint)):
        raise task.retry(countdown=min(place_s, delivery.time_left_s))
    try:
        answer = send(delivery)
    except (NotDelivered, SoftTimeLimitExceeded) as exc:
        delivery.stumble(str(exc))
        raise task.retry(exc=exc, countdown=delivery.pause_s) from exc
    with settle():
        if delivery.succeed(answer):
            call_up(delivery.endpoint_id)


def _start(task: Any, delivery: Delivery, *, countdown: float = 0) -> None:
    then = give_up.si(str(delivery.pk))
    task.apply_async((str(delivery.pk),), task_id=str(delivery.job), countdown=countdown or None, link_error=then)

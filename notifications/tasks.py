"""Telling: an event becomes deliveries, and each is tried until it arrives or is given up. Here are
the tasks, whom an event is for, and which task is next.
"""

from typing import Any
from uuid import UUID

from celery import Task, shared_task
from django.conf import settings
from django.db.models import Q

from celery_ledger import Job, bulk, context, ledger_settings, settle, together
from notifications import chat, trying, webhooks
from notifications.mail.recipients import recipients
from notifications.mail.send import send
from notifications.models import Delivery, Endpoint, Event, Suppression
from notifications.models.deliveries.telling import NewDelivery
from notifications.models.event import FIRST_ID

# how a task is made that calls the other side; its delivery counts the tries
CALL = {"bind": True, "atomic": False, "threaded": True, "max_retries": None}


# --- an event becomes deliveries ------------------------------------------------------------------


def tell(event: Event, *, is_new: bool = True) -> None:
    """Write the event, if it is new, and a delivery with its job for everybody who is told of it.

    No place in the line of an endpoint in trouble is taken here: that would lock the endpoint's row
    in the transaction of an event, which may be long. The task `line_up` takes it.
    """
    with together():
        for delivery in Delivery.objects.tell(event, _named(event), is_new=is_new):
            with context.bound(client=str(delivery.owner) if delivery.owner else None):
                _promise(delivery)


def _named(event: Event) -> list[tuple[str, str]]:
    """Whom it is for, beside the endpoints that listen: channels and targets."""
    mails = [(Delivery.Channel.MAIL.value, address) for address in recipients(event)]
    return mails + [(Delivery.Channel.CHAT.value, target) for target in chat.recipients(event)]


def _promise(delivery: NewDelivery) -> None:
    if delivery.channel == Delivery.Channel.MAIL:
        start(send_mail, delivery.id, job=delivery.job)
    elif delivery.channel == Delivery.Channel.CHAT:
        start(send_chat, delivery.id, job=delivery.job)
    elif delivery.in_trouble:
        start(line_up, delivery.id)
    else:
        start(post_webhook, delivery.id, job=delivery.job)


@shared_task
def announce_all(event_ids: list[str]) -> None:
    """Write who is told of these events, of many that were recorded at once."""
    with together():
        for event in Event.objects.filter(pk__in=event_ids).order_by("pk"):
            tell(event, is_new=False)


@shared_task
def note_all_untold(event_ids: list[str]) -> None:
    """The job of `announce_all` has died or was cancelled: as `note_untold`, of each."""
    for event_id in event_ids:
        note_untold(event_id)


@shared_task
def announce(event_id: str) -> None:
    """Write who is told of this event. Nothing promises it any more: a release that told of an
    event after its transaction did, and its jobs may still wait.
    """
    tell(Event.objects.get(pk=event_id), is_new=False)


@shared_task
def note_untold(event_id: str) -> None:
    """The job that was to tell of this event has died or was cancelled: write its deliveries as
    given up, so that people see them and can send them again.
    """
    event = Event.objects.get(pk=event_id)
    for delivery in Delivery.objects.tell(event, _named(event), is_new=False):
        Delivery.objects.locked(delivery.id).give_up()


# --- a delivery is tried --------------------------------------------------------------------------


@shared_task(**CALL)
def send_mail(self: Task, delivery_id: str) -> None:
    _deliver(self, delivery_id, send)


@shared_task(**CALL)
def send_chat(self: Task, delivery_id: str) -> None:
    _deliver(self, delivery_id, chat.send)


@shared_task(**CALL, cancellable=True)
def post_webhook(self: Task, delivery_id: str) -> None:
    _deliver(self, delivery_id, webhooks.post)


def _deliver(task: Task, delivery_id: str, send: trying.Send) -> None:
    """One try by the job that brings the delivery; none, if that is over or not due yet."""
    delivery = Delivery.objects.select_related("event", "endpoint").get(pk=delivery_id)
    if not delivery.is_brought_by(UUID(task.request.id)) or _is_settled_untried(delivery):
        return
    if place_s := trying.place_s(delivery):
        raise task.retry(countdown=min(place_s, delivery.time_left_s))
    tried = trying.try_once(delivery, send)
    if tried.next_in_s is not None:
        raise task.retry(exc=tried.error, countdown=tried.next_in_s)
    with settle():
        if trying.end(delivery, tried):
            call_up(delivery.endpoint_id)


def _is_settled_untried(delivery: Delivery) -> bool:
    """True when nobody is to hear of it any more, and it is given up; or when an older one about
    its subject comes first, and another job brings it after that.
    """
    if delivery.is_hopeless or delivery.is_unwanted:
        with settle():
            delivery.give_up()
        return True
    if Delivery.objects.ahead_of(delivery):
        with settle():
            pause_s = Delivery.objects.hold_back(delivery)
            if pause_s is not None:
                start(post_webhook, delivery.pk, job=delivery.job, countdown=pause_s)
        return True
    return False


def start(task: Any, delivery_id: UUID, *, job: UUID | None = None, countdown: float = 0) -> None:
    """Promise this task of a delivery, which is given up when the job dies. `job`: its id, or else
    a new one; `countdown` in seconds.
    """
    task.apply_async(
        (str(delivery_id),),
        link_error=give_up.si(str(delivery_id)),
        task_id=job and str(job),
        countdown=countdown or None,
    )


@shared_task
def give_up(delivery_id: str) -> None:
    """The job that brings it has died or was cancelled: it is given up."""
    Delivery.objects.locked(delivery_id).give_up()


# --- the line of an endpoint in trouble -----------------------------------------------------------


@shared_task
def line_up(delivery_id: str) -> None:
    """Let a new delivery take its place in the line of its endpoint."""
    bring(Delivery.objects.select_related("endpoint").get(pk=delivery_id))


def bring(delivery: Delivery) -> None:
    """Promise the job of a webhook, due when its endpoint may be called."""
    place_s = 0.0
    if delivery.endpoint and delivery.endpoint.is_open:
        place_s = Endpoint.objects.take_place(delivery.endpoint)
    place_s = min(place_s, delivery.time_left_s)
    start(post_webhook, delivery.pk, job=delivery.job, countdown=place_s)


def call_up(endpoint_id: Any) -> None:
    """The line of an endpoint that has recovered, or was disabled, is due: in the bulk queue."""
    with bulk():
        call_up_line.delay(str(endpoint_id))


@shared_task
def call_up_line(endpoint_id: str, after: str | None = None) -> None:
    """Make BATCH_ROWS jobs of the line due, and the next ones ENDPOINT_CALL_UP_PACE_S later, as
    long as the endpoint stays well, or disabled: then they give their deliveries up.
    """
    well = Q(failures__lt=settings.ENDPOINT_FAILURES_MAX) | Q(disabled_at__isnull=False)
    if not Endpoint.objects.filter(well, pk=endpoint_id).exists():
        return
    waiting = Delivery.objects.in_line(endpoint_id, after=after, limit=settings.BATCH_ROWS)
    jobs = [delivery.job for delivery in waiting if delivery.job]
    Job.objects.run_now(jobs, queue=ledger_settings.BULK_QUEUE)
    if len(waiting) == settings.BATCH_ROWS:
        pace_s = settings.ENDPOINT_CALL_UP_PACE_S
        call_up_line.apply_async((endpoint_id, str(waiting[-1].pk)), countdown=pace_s)


@shared_task
def put_line_in_order(endpoint_id: str, after: str | None = None) -> None:
    """What was asked for again and BATCH_ROWS of the line, then the rest, learn their places."""
    endpoint = Endpoint.objects.locked(endpoint_id)
    Delivery.objects.filter(endpoint=endpoint, resend=True).put_in_order()
    waiting = Delivery.objects.in_line(endpoint_id, after=after, limit=settings.BATCH_ROWS)
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in waiting]).put_in_order()
    if len(waiting) == settings.BATCH_ROWS:
        put_line_in_order.delay(endpoint_id, str(waiting[-1].pk))


# --- deliveries that have ended -------------------------------------------------------------------


def promise_resend(endpoint_id: str, after: UUID = FIRST_ID) -> None:
    """Promise the task below: of what comes after that delivery, or of all that was asked for."""
    resend.apply_async((endpoint_id, str(after)), link_error=forget_resend.si(endpoint_id))


@shared_task(cancellable=True)
def resend(endpoint_id: str, after: str) -> None:
    """Send again BATCH_ROWS of what was asked for again, from beyond that delivery on, then the
    rest: of this endpoint, or of mails when it is "".
    """
    if endpoint_id:
        Endpoint.objects.locked(endpoint_id)
    again = Delivery.objects.begin_again(
        endpoint_id or None, after=after, limit=settings.BATCH_ROWS
    )
    for delivery in again:
        if delivery.channel == Delivery.Channel.MAIL:
            start(send_mail, delivery.pk, job=delivery.job)
        else:
            bring(delivery)
    if len(again) == settings.BATCH_ROWS:
        promise_resend(endpoint_id, again[-1].pk)


@shared_task
def forget_resend(endpoint_id: str) -> None:
    """The job of `resend` has died or was cancelled: what it was to send stays as it had ended, and
    can be asked for once more.
    """
    if endpoint_id:
        Endpoint.objects.locked(endpoint_id)
    Delivery.objects.forget_asked(endpoint_id or None)


@shared_task
def forget_old_deliveries() -> int:
    """Delete BATCH_ROWS deliveries that ended DELIVERY_KEEP ago, then the rest, and hashes of
    addresses that are older than SUPPRESSION_ERASED_KEEP. Returns how many deliveries.
    """
    Suppression.objects.forget_old(settings.BATCH_ROWS)
    forgotten = Delivery.objects.forget_old(settings.BATCH_ROWS)
    if forgotten == settings.BATCH_ROWS:
        forget_old_deliveries.delay()
    return forgotten

"""Telling: an event becomes deliveries, and each is tried until it arrives or is given up."""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import batched
from time import monotonic
from typing import Any
from uuid import UUID

from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db.models import Q
from uuid_utils.compat import uuid7

from celery_ledger import Job, bulk, context, ledger_settings, settle, together
from notifications import chat, webhooks
from notifications.mail.recipients import recipients
from notifications.mail.send import send
from notifications.models import Answer, Delivery, Endpoint, Event, NotDelivered, Suppression
from notifications.models.deliveries.queryset import DeliveryQuerySet
from notifications.models.deliveries.telling import Told

FIRST_ID = UUID(int=0)


def tell(event: Event, *, is_new: bool = True) -> None:
    """Write the event, if it is new, and a delivery with its job for everybody who is told of it.

    The row of an endpoint in trouble is the line of what waits for it. Nobody takes a place there
    in the transaction of an event, which may be long.
    """
    with together():
        for told in Delivery.objects.tell(event, _named(event), is_new=is_new):
            # whoever brought it about
            with context.bound(client=str(told.owner) if told.owner else None):
                _promise(told)


def tell_all(news: Sequence[Event]) -> None:
    """Write these events, and who is told of them; of more than TELL_AT_ONCE, jobs find that."""
    if len(news) <= settings.TELL_AT_ONCE:
        for event in news:
            tell(event)
        return
    Event.objects.bulk_create(news)
    with bulk(), together():
        for some in batched(news, settings.TELL_AT_ONCE):
            ids = [str(event.pk) for event in some]
            announce_all.apply_async((ids,), link_error=note_all_untold.si(ids))


@shared_task
def announce_all(event_ids: list[str]) -> None:
    """Of many events that were recorded at once: whoever is told of these is told."""
    with together():
        for event in Event.objects.filter(pk__in=event_ids).order_by("pk"):
            tell(event, is_new=False)


@shared_task
def note_all_untold(event_ids: list[str]) -> None:
    """Its job died or was cancelled."""
    for event_id in event_ids:
        note_untold(event_id)


def _named(event: Event) -> list[tuple[str, str]]:
    """Whom it is for, beside the endpoints that listen: channels and targets."""
    mails = [(Delivery.Channel.MAIL.value, address) for address in recipients(event)]
    return mails + [(Delivery.Channel.CHAT.value, whom) for whom in chat.recipients(event)]


def _promise(told: Told) -> None:
    if told.channel == Delivery.Channel.MAIL:
        _start(send_mail, told.id, job=told.job)
    elif told.channel == Delivery.Channel.CHAT:
        _start(send_chat, told.id, job=told.job)
    elif told.in_trouble:
        _start(line_up, told.id)
    else:
        _start(post_webhook, told.id, job=told.job)


@shared_task
def line_up(delivery_id: str) -> None:
    """Its endpoint is in trouble: it takes a place in line."""
    bring(Delivery.objects.select_related("endpoint").get(pk=delivery_id))


@shared_task
def announce(event_id: str) -> None:
    """Of releases that told of an event after its transaction, whose jobs may still wait: whoever
    was not told is told.
    """
    tell(Event.objects.get(pk=event_id), is_new=False)


@shared_task
def note_untold(event_id: str) -> None:
    """Such a job died or was cancelled: the deliveries say that nobody was told, and can be sent
    again.
    """
    event = Event.objects.get(pk=event_id)
    for told in Delivery.objects.tell(event, _named(event), is_new=False):
        Delivery.objects.locked(told.id).give_up()


def bring(delivery: Delivery) -> None:
    """Promise the job of a webhook, due when its endpoint may be called."""
    endpoint = delivery.endpoint
    place_s = Endpoint.objects.take_place(endpoint) if endpoint and endpoint.is_open else 0.0
    place_s = min(place_s, delivery.time_left_s)
    _start(post_webhook, delivery.pk, job=delivery.job, countdown=place_s)


@shared_task(
    bind=True, atomic=False, threaded=True, max_retries=None
)  # the delivery counts its tries
def send_mail(self: Task, delivery_id: str) -> None:
    _deliver(self, delivery_id, send)


@shared_task(bind=True, atomic=False, threaded=True, max_retries=None)
def send_chat(self: Task, delivery_id: str) -> None:
    _deliver(self, delivery_id, chat.send)


@shared_task(bind=True, atomic=False, threaded=True, max_retries=None, cancellable=True)
def post_webhook(self: Task, delivery_id: str) -> None:
    _deliver(self, delivery_id, webhooks.post)


def test(endpoint_id: Any) -> Delivery:
    """A test on its way to this endpoint: a new one, unless the newest is still under way. In a
    transaction.
    """
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
    _start(post_webhook, delivery.pk, job=delivery.job)
    return delivery


def replay(endpoint_id: Any, *, since: datetime, everything: bool) -> tuple[int, bool]:
    """Send again what failed since then to this endpoint, or everything: how many, and whether a
    call like this finds more.
    """
    found = Delivery.objects.retryable(since=since, everything=everything)
    return send_again(found, endpoint_id, everything=everything)


def send_again(
    chosen: DeliveryQuerySet, endpoint_id: Any | None, *, everything: bool = False
) -> tuple[int, bool]:
    """Those of `retryable` ones that go to this endpoint, or None: to people, by mail. In a
    transaction.
    """
    endpoint = Endpoint.objects.locked(endpoint_id) if endpoint_id else None
    count, more = Delivery.objects.ask_again(
        chosen.filter(endpoint=endpoint_id, channel=_channel(endpoint_id)), everything=everything
    )
    if count and endpoint and endpoint.ordered:
        Delivery.objects.filter(endpoint=endpoint, resend=True).put_in_order()
    if count:
        with bulk():
            _go_on_resending(str(endpoint_id or ""), FIRST_ID)
    return count, more


def _channel(endpoint_id: Any | None) -> Delivery.Channel:
    return Delivery.Channel.WEBHOOK if endpoint_id else Delivery.Channel.MAIL


@shared_task(cancellable=True)
def resend(endpoint_id: str, after: str) -> None:
    """Some of what was asked for again, then the rest; of mails when no endpoint is named."""
    if endpoint_id:
        Endpoint.objects.locked(endpoint_id)
    again = Delivery.objects.begin_again(
        endpoint_id or None, after=after, limit=settings.BATCH_ROWS
    )
    for delivery in again:
        if delivery.channel == Delivery.Channel.MAIL:
            _start(send_mail, delivery.pk, job=delivery.job)
        else:
            bring(delivery)
    if len(again) == settings.BATCH_ROWS:
        _go_on_resending(endpoint_id, again[-1].pk)


@shared_task
def forget_resend(endpoint_id: str) -> None:
    """Nobody sends again what was asked for: it can be asked for once more."""
    if endpoint_id:
        Endpoint.objects.locked(endpoint_id)
    Delivery.objects.forget_asked(endpoint_id or None)


def _go_on_resending(endpoint_id: str, after: UUID) -> None:
    resend.apply_async((endpoint_id, str(after)), link_error=forget_resend.si(endpoint_id))


def call_up(endpoint_id: Any) -> None:
    """An endpoint has recovered, or is given up: whoever stands in line for it comes, in the room
    that other work leaves.
    """
    with bulk():
        call_up_line.delay(str(endpoint_id))


@shared_task
def call_up_line(endpoint_id: str, after: str | None = None) -> None:
    """Some of the line a second, as long as the endpoint stays well; of one that is disabled, to
    be given up.
    """
    well = Q(failures__lt=settings.ENDPOINT_FAILURES_MAX) | Q(disabled_at__isnull=False)
    if Endpoint.objects.filter(well, pk=endpoint_id).exists():
        waiting = Delivery.objects.in_line(endpoint_id, after=after, limit=settings.BATCH_ROWS)
        Job.objects.run_now(
            [delivery.job for delivery in waiting if delivery.job], queue=ledger_settings.BULK_QUEUE
        )
        if len(waiting) == settings.BATCH_ROWS:
            pace = {"countdown": settings.ENDPOINT_CALL_UP_PACE_S}
            call_up_line.apply_async((endpoint_id, str(waiting[-1].pk)), **pace)


def put_in_order(endpoint_id: Any) -> None:
    """An endpoint wants an order from now on: what waits for it gets one, in the room that other
    work leaves.
    """
    with bulk():
        put_line_in_order.delay(str(endpoint_id))


@shared_task
def put_line_in_order(endpoint_id: str, after: str | None = None) -> None:
    """What was asked for again and some of the line, then the rest."""
    endpoint = Endpoint.objects.locked(endpoint_id)
    Delivery.objects.filter(endpoint=endpoint, resend=True).put_in_order()
    waiting = Delivery.objects.in_line(endpoint_id, after=after, limit=settings.BATCH_ROWS)
    Delivery.objects.filter(pk__in=[one.pk for one in waiting]).put_in_order()
    if len(waiting) == settings.BATCH_ROWS:
        put_line_in_order.delay(endpoint_id, str(waiting[-1].pk))


@shared_task
def give_up(delivery_id: str) -> None:
    """Its job died: say so on the delivery."""
    Delivery.objects.locked(delivery_id).give_up()


@shared_task
def forget_old_deliveries() -> int:
    """Ended deliveries are kept for DELIVERY_KEEP; what one run leaves, its follow-up deletes. So
    are hashes of addresses of those who were erased, for SUPPRESSION_ERASED_KEEP.
    """
    Suppression.objects.forget_old(settings.BATCH_ROWS)
    forgotten = Delivery.objects.forget_old(settings.BATCH_ROWS)
    if forgotten == settings.BATCH_ROWS:
        forget_old_deliveries.delay()
    return forgotten


def _deliver(task: Task, delivery_id: str, send: Callable[[Delivery], Answer]) -> None:
    """One try, with its outcome written down whichever way it went."""
    delivery = Delivery.objects.select_related("event", "endpoint").get(pk=delivery_id)
    if delivery.state != Delivery.State.WAITING or delivery.job not in (
        None,
        UUID(task.request.id),
    ):
        return
    if _is_settled_untried(delivery):
        return
    if delivery.endpoint and (
        place_s := Endpoint.objects.take_turn(delivery.endpoint, at_once=delivery.is_test)
    ):
        raise task.retry(countdown=min(place_s, delivery.time_left_s))
    began = monotonic()
    try:
        answer = send(delivery)
    except (NotDelivered, SoftTimeLimitExceeded) as exc:
        failure = exc if isinstance(exc, NotDelivered) else NotDelivered(str(exc))
        is_over = delivery.stumble(failure, after_s=monotonic() - began)
        if not (is_over or delivery.is_hopeless):
            pause_s = min(max(delivery.pause_s, failure.pause_s), delivery.time_left_s)
            raise task.retry(exc=exc, countdown=pause_s) from exc
        with settle():
            delivery.give_up()
            if is_over and delivery.endpoint_id:
                call_up(delivery.endpoint_id)
        return
    with settle():
        if delivery.succeed(answer, after_s=monotonic() - began):
            call_up(delivery.endpoint_id)


def _is_settled_untried(delivery: Delivery) -> bool:
    """Nobody is to hear it any more, or an older one about its subject comes first."""
    if delivery.is_hopeless or delivery.is_unwanted:
        with settle():
            delivery.give_up()
        return True
    if Delivery.objects.ahead_of(delivery):
        with settle():
            _hold_back(delivery)
        return True
    return False


def _hold_back(delivery: Delivery) -> None:
    """Another job brings it, when the older one has ended or some time after that was due."""
    pause_s = Delivery.objects.hold_back(delivery)
    if pause_s is not None:
        _start(post_webhook, delivery.pk, job=delivery.job, countdown=pause_s)


def _start(task: Any, delivery_id: UUID, *, job: UUID | None = None, countdown: float = 0) -> None:
    options = {"task_id": job and str(job), "countdown": countdown or None}
    then = give_up.si(str(delivery_id))
    task.apply_async((str(delivery_id),), link_error=then, **options)

"""Everything that ever happened to an order on one line of time: its events, the jobs that worked
on it, what was asked of the provider, who was told, and what staff did.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Prefetch
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from celery_ledger import FINISHED, Job, State, owned
from notifications import events
from notifications.models import Attempt, Delivery, Event
from ops.models import StaffAction
from ops.templatetags.words import verb
from orders.models import Order
from orders.payments.models import PaymentOperation
from values import money

EVENTS_MAX = 500  # newest ones of an order that are shown
JOBS_NEAR = timedelta(seconds=2)  # of a moment, a job that wrote it or that it promised
JOBS_MAX = 60  # of each such moment
STRETCHES_MAX = 20
DELIVERIES_MAX = 200

KINDS: dict[str, Promise] = {
    "event": gettext_lazy("event"),
    "job": gettext_lazy("job"),
    "payment": gettext_lazy("payment"),
    "mail": gettext_lazy("mail"),
    "webhook": gettext_lazy("webhook"),
    "staff": gettext_lazy("staff"),
    "note": gettext_lazy("note"),
}


@dataclass(frozen=True)
class Entry:
    at: datetime
    kind: str  # of KINDS
    text: str
    aside: str = ""
    trouble: str = ""
    job: str = ""  # its id, where a job is spoken of
    delivery: str = ""  # its id, where a delivery is spoken of
    again: bool = False  # whether that may be sent again
    details: list[str] = field(default_factory=list)

    @property
    def clock(self) -> str:
        """The time of day in the reader's zone: 12:04:07.118."""
        return timezone.localtime(self.at).isoformat(timespec="milliseconds")[11:23]

    @property
    def word(self) -> Promise:
        return KINDS.get(self.kind, gettext_lazy("event"))


@dataclass(frozen=True)
class Past:
    """The entries of an order's page, the oldest first, and in sentences what it leaves out."""

    entries: list[Entry]
    jobs: list[Job]
    left_out: list[str]


def news_of(order: Order) -> list[Event]:
    """Its newest events, the oldest first."""
    return list(events.timeline(order.pk, after=order.version - EVENTS_MAX))


def past_of(order: Order, news: list[Event]) -> Past:
    """What happened to the order. `news` are its events."""
    operations = list(order.operations.order_by("created_at"))
    actions = list(StaffAction.of(order.pk))
    jobs, jobs_cut = _jobs_of(order, news, operations, actions)
    deliveries = _deliveries_of(news)
    entries = [Entry(event.at, "event", event.kind, f"{event.seq}") for event in news]
    for job in jobs:
        entries += _of_job(job)
    entries += [_of_operation(operation) for operation in operations]
    for delivery in deliveries[:DELIVERIES_MAX]:
        entries += _of_delivery(delivery)
    entries += [_of_staff(action) for action in actions if action.verb != "note"]
    for remark in order.remarks.all():
        entries.append(Entry(remark.at, "note", f"{remark.who}: {remark.text}"))
    entries.sort(key=lambda entry: entry.at)
    return Past(entries, jobs, _left_out(news, deliveries, jobs_cut=jobs_cut))


def _left_out(news: list[Event], deliveries: list[Delivery], *, jobs_cut: bool) -> list[str]:
    """Sentences about what the page does not show."""
    sentences = []
    if news and news[0].seq > 1:
        sentences.append(_("Events before the newest %(n)d.") % {"n": EVENTS_MAX})
    if jobs_cut:
        sentences.append(_("Jobs of longer ago, and some of moments at which much was done."))
    if len(deliveries) > DELIVERIES_MAX:
        sentences.append(_("Mails and webhooks after the first %(n)d.") % {"n": DELIVERIES_MAX})
    return sentences


def _jobs_of(
    order: Order, news: list[Event], operations: list[PaymentOperation], actions: list[StaffAction]
) -> tuple[list[Job], bool]:
    """The jobs that are called with the order's id or a payment's, as far as they are still kept,
    and whether some may be left out. They are looked for around each of its events, since what
    promises a job also records an event; and around each moment at which a provider was asked or
    staff did something.
    """
    named = [str(order.pk), *(str(operation.pk) for operation in operations)]
    its_own = Job.objects.filter(owned.called_with(named), owner=str(order.client_id))
    moments = [event.recorded_at or event.at for event in news]
    moments += [operation.asked_at for operation in operations]
    moments += [action.at for action in actions]
    stretches = _stretches(moments)
    found, is_cut = list[Job](), len(stretches) > STRETCHES_MAX
    for stretch in stretches[-STRETCHES_MAX:]:
        near = its_own.filter(created_at__range=stretch).order_by("created_at", "id")
        jobs = list(near[: JOBS_MAX + 1])
        is_cut = is_cut or len(jobs) > JOBS_MAX
        found += jobs[:JOBS_MAX]
    return found, is_cut


def _deliveries_of(news: list[Event]) -> list[Delivery]:
    """The first DELIVERIES_MAX of them, and one more if there are more."""
    attempts = Prefetch("attempts", Attempt.objects.order_by("pk"))
    deliveries = Delivery.objects.filter(event__in=[event.pk for event in news])
    deliveries = deliveries.select_related("endpoint", "event").prefetch_related(attempts)
    return list(deliveries.order_by("created_at", "pk")[: DELIVERIES_MAX + 1])


def may_be_sent_again(delivery: Delivery) -> bool:
    """Whether its button is shown: it has ended, and its target can still be reached."""
    is_over = delivery.state != Delivery.State.WAITING and not delivery.resend
    if delivery.channel == Delivery.Channel.MAIL:
        return is_over and bool(delivery.target)
    endpoint = delivery.endpoint
    return is_over and bool(endpoint and endpoint.active and not endpoint.disabled_at)


def _stretches(moments: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """Spans of JOBS_NEAR to both sides of these moments; those that overlap are one."""
    found: list[tuple[datetime, datetime]] = []
    for moment in sorted(moments):
        begin, end = moment - JOBS_NEAR, moment + JOBS_NEAR
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def _of_job(job: Job) -> Iterator[Entry]:
    """An entry of each attempt that ended without a result, and of the state that the job is in."""
    name, id_ = job.task.rpartition(".")[2], str(job.pk)
    for end in job.history:
        error, at = end["error"], datetime.fromisoformat(end["at"])
        text = _("attempt %(number)s did not get through") % {"number": end["attempt"]}
        trouble = f"{error['type']}: {error['message']}"
        yield Entry(at, "job", f"{name}, {text}", trouble=trouble, job=id_)
    at, text, trouble = _where_it_is(job)
    yield Entry(at, "job", f"{name}, {text}", trouble=trouble, job=id_)


def _where_it_is(job: Job) -> tuple[datetime, str, str]:
    """Since when the job is in its state, what that is called, and the same if it is trouble."""
    if job.state == State.RUNNING:
        return job.started_at or job.created_at, _("runs now"), ""
    if job.state not in FINISHED:
        return job.created_at, _("waits"), ""
    ended_at = job.finished_at or job.created_at
    if job.state != State.DONE:
        return ended_at, str(State(job.state)), str(State(job.state))
    took = (ended_at - job.started_at) if job.started_at else timedelta()
    return ended_at, _("done in %(ms)d ms") % {"ms": took.total_seconds() * 1000}, ""


def _of_operation(operation: PaymentOperation) -> Entry:
    amount = money.written(operation.amount, operation.currency)
    text = f"{operation.kind} {amount}: {operation.state}"
    trouble = operation.reason if operation.state == PaymentOperation.State.DECLINED else ""
    details = [f"{operation.provider} {operation.reference}".strip(), f"key {operation.key}"]
    return Entry(
        operation.created_at, "payment", text, operation.provider, trouble, details=details
    )


def _of_delivery(delivery: Delivery) -> Iterator[Entry]:
    whom = delivery.endpoint.url if delivery.endpoint else delivery.target
    about = f"{delivery.event.kind} → {whom}"
    id_ = str(delivery.pk)
    attempts = list(delivery.attempts.all())
    for attempt in attempts:
        took = "" if attempt.duration_ms is None else f"{attempt.duration_ms} ms"
        trouble = "" if attempt.ok else attempt.answer
        text = f"{about}, {attempt.answer}" if attempt.ok else about
        again = attempt == attempts[-1] and may_be_sent_again(delivery)
        yield Entry(attempt.at, delivery.channel, text, took, trouble, delivery=id_, again=again)
    if delivery.state == Delivery.State.WAITING:
        yield Entry(delivery.created_at, delivery.channel, f"{about}, {_('waits')}", delivery=id_)


def _of_staff(action: StaffAction) -> Entry:
    word = verb(action.verb)
    entered = ", ".join(str(value) for value in action.said.values() if value)
    changed = [
        f"{name}: {was} → {action.after.get(name)}"
        for name, was in action.before.items()
        if was != action.after.get(name)
    ]
    text = f"{action.who}: {word}" + (f" ({entered})" if entered else "")
    return Entry(action.at, "staff", text, details=changed)

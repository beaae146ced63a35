"""One sentence that says why an order is not further."""

from collections.abc import Iterable
from datetime import datetime

from django.utils import timezone
from django.utils.formats import time_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from celery_ledger import Job, Pause, State
from ops.templatetags.words import word
from orders.models import Order
from orders.payments.models import PaymentOperation
from orders.states import FulfilmentState, PaymentMethod, PaymentState
from orders.states import State as OrderState


def why(order: Order, jobs: Iterable[Job]) -> str:
    """The sentence, in the language that is turned on. `jobs`: those of the order, the oldest
    first.
    """
    if order.held:
        reason = {"reason": word(order.hold_reason)}
        return _("It is on hold: %(reason)s. Release it, and it goes on.") % reason
    if order.has_ended:
        return _("It has ended; nothing more happens by itself.")
    if order.state == OrderState.CONFIRMED:
        return _of_confirmed(order)
    open_jobs = [job for job in jobs if job.state in (State.WAITING, State.RUNNING, State.DEAD)]
    if dead := [job for job in open_jobs if job.state == State.DEAD]:
        task = dead[-1].task.rpartition(".")[2]
        return _("Its job %(task)s died. Look at why, then retry it.") % {"task": task}
    if order.state == OrderState.RECEIVED:
        return _("It waits until its goods are set aside. ") + _of_jobs(open_jobs)
    return _of_payment(order, open_jobs)


def _of_confirmed(order: Order) -> str:
    units = sum(units for _line, units in order.open_units)
    waits = ngettext(
        "It waits to be sent: %(units)d piece.", "It waits to be sent: %(units)d pieces.", units
    ) % {"units": units}
    if order.payment_state in (PaymentState.PAID, PaymentState.PARTIALLY_REFUNDED):
        return waits
    if order.payment_method == PaymentMethod.COD and order.fulfilment_state != FulfilmentState.FULL:
        return waits + " " + _("It is paid on delivery.")
    return waits


def _of_payment(order: Order, open_jobs: list[Job]) -> str:
    until = {"until": _clock(order.expires_at)}
    if order.payment_state == PaymentState.ACTION_REQUIRED:
        return _("It waits for its customer, whose bank asks to confirm, until %(until)s.") % until
    if order.payment_state == PaymentState.FAILED:
        return _("Its card was declined. It waits for another one until %(until)s.") % until
    if order.payment_method != PaymentMethod.CARD:
        return _("It waits to be marked as paid, until %(until)s.") % until
    operation = order.operations.exclude(state__in=PaymentOperation.ENDED).last()
    if operation is None:
        return _("It waits for its payment.") + " " + _of_jobs(open_jobs)
    since = {"since": _clock(operation.created_at)}
    return _("It waits for the provider since %(since)s.") % since + " " + _of_jobs(open_jobs)


def _of_jobs(open_jobs: list[Job]) -> str:
    """How often its newest job has tried, and when it does again."""
    if not open_jobs:
        return _("No job of it waits: that should not be; run `manage.py audit`.")
    job = open_jobs[-1]
    if job.state == State.RUNNING:
        return _("A worker is at it.")
    if pause := Pause.objects.of(job).first():
        pause_in_words = {"what": pause.name, "who": pause.by, "since": _clock(pause.at)}
        return _("%(what)s is paused by %(who)s since %(since)s.") % pause_in_words
    tried = ngettext("Tried %(n)d time", "Tried %(n)d times", job.attempts) % {"n": job.attempts}
    seconds = int((job.due_at - timezone.now()).total_seconds())
    if seconds > 0:
        return _("%(tried)s; again in %(seconds)d s.") % {"tried": tried, "seconds": seconds}
    return _("%(tried)s; it is due and waits for a worker.") % {"tried": tried}


def _clock(moment: datetime | None) -> str:
    return time_format(timezone.localtime(moment), "H:i") if moment else "–"

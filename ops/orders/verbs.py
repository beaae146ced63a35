"""What staff can do to an order, and to a part of it."""

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from celery_ledger import Job, State, interventions, owned
from ops.orders import goods
from ops.orders.acting import NOBODY, Entered, Verb
from ops.orders.forms.goods import AnnounceForm, FulfilForm, ReceiveForm, RefundForm, WithdrawForm
from ops.orders.forms.particulars import EditForm
from ops.orders.forms.verb import CancelForm, HoldForm, NoteForm, PaidForm
from orders.models import Order, Remark
from orders.states import PaymentMethod, PaymentState, ReturnState
from orders.states import State as OrderState
from orders.tasks import forget_person, give_back, go_on, serving
from values.refused import invalid

ERASED_COUNTED_MAX = 200


# --- its way --------------------------------------------------------------------------------------


def _hold(order: Order, entered: Entered, by: str) -> None:
    order.hold(entered["reason"])


def _release(order: Order, entered: Entered, by: str) -> None:
    order.release()
    go_on(order)


def _cancel(order: Order, entered: Entered, by: str) -> None:
    give_back(order.cancel(entered["reason"]))


def _dead_jobs(order: Order) -> QuerySet[Job]:
    named = [str(order.pk), *map(str, order.operations.values_list("pk", flat=True))]
    dead = Job.objects.filter(state=State.DEAD, owner=str(order.client_id))
    return dead.filter(owned.called_with(named))


def _retry(job: Job, entered: Entered, by: str) -> list[str]:
    if by != NOBODY:  # a rehearsal would leave its line in the log
        interventions.retry(Job.objects.filter(pk=job.pk), by=by)
    return [_("The job %(task)s waits again and is due now.") % {"task": job.task}]


# --- whom it is for, and what is noted of it ------------------------------------------------------


def _edit(order: Order, entered: Entered, by: str) -> list[str]:
    if not order.news_in(entered["change"]):
        raise invalid(("", _("Nothing is changed yet.")))
    order.change(entered["change"])
    return [f"{label}: {was or '–'} → {now or '–'}" for label, was, now in entered["changes"]]


def _fields(order: Order, entered: Entered) -> Entered:
    """The names of the changed fields: what was typed is kept in the order alone, where it can be
    erased.
    """
    return {"fields": ", ".join(sorted(entered["change"].model_fields_set))}


def _note(order: Order, entered: Entered, by: str) -> list[str]:
    if by != NOBODY:
        Remark.objects.write(order, entered["text"], who=by)
    return [_("It stands on the order's line of time, for the staff alone.")]


def _erase(order: Order, entered: Entered, by: str) -> list[str]:
    theirs = Order.objects.of(order.client).narrowed(email=order.email)
    number = theirs.order_by("-pk")[: ERASED_COUNTED_MAX + 1].count()
    with serving(order):
        forget_person(order.client_id, order.email, by=by)
    who = {"n": min(number, ERASED_COUNTED_MAX), "email": order.email, "shop": order.client}
    at_least = _("There are more than these.") if number > ERASED_COUNTED_MAX else ""
    orders = ngettext(
        "%(n)d order of %(email)s at %(shop)s is touched.",
        "%(n)d orders of %(email)s at %(shop)s are touched.",
        number,
    )
    return [
        f"{orders % who} {at_least}".strip(),
        _(
            "E-mail, names, addresses, notes, tags, metadata and remarks go, also from events, "
            "mails and kept answers. Goods, amounts and what happened stay."
        ),
        _("Export files of %(shop)s are deleted: they may name the person.") % who,
        _("It cannot be taken back."),
    ]


# --- when each may be -----------------------------------------------------------------------------


def _is_sendable(order: Order) -> bool:
    return order.is_confirmed and not order.held and bool(order.open_units)


def _is_unpaid(order: Order) -> bool:
    """It can still be marked as paid: no money has come, and no card is being charged."""
    if order.captured or order.state not in (OrderState.RESERVED, OrderState.CONFIRMED):
        return False
    is_paid_elsewhere = order.payment_method != PaymentMethod.CARD
    return is_paid_elsewhere or order.charge_state == PaymentState.FAILED


def _is_withdrawable(order: Order) -> bool:
    """Something of it is paid and not sent."""
    return order.is_confirmed and order.refundable > 0 and bool(order.open_units)


def _can_come_back(order: Order) -> bool:
    return any(line.returnable for line in order.own_lines)


def _can_be_forgotten(order: Order) -> bool:
    return bool(order.email) and order.has_ended


VERBS: dict[str, Verb] = {
    "release": Verb(gettext_lazy("Release"), lambda order: order.held, _release),
    "hold": Verb(
        gettext_lazy("Put on hold"),
        lambda order: not (order.held or order.has_ended),
        _hold,
        HoldForm,
    ),
    "fulfil": Verb(
        gettext_lazy("Send"), _is_sendable, goods.fulfil, FulfilForm, noted=goods.pieces
    ),
    "mark_paid": Verb(gettext_lazy("Mark as paid"), _is_unpaid, goods.mark_paid, PaidForm),
    "refund": Verb(
        gettext_lazy("Give money back"),
        lambda order: order.refundable > 0,
        goods.refund,
        RefundForm,
        noted=goods.pieces,
    ),
    "withdraw": Verb(
        gettext_lazy("Take pieces off"),
        _is_withdrawable,
        goods.withdraw,
        WithdrawForm,
        noted=goods.pieces,
    ),
    "announce": Verb(
        gettext_lazy("Announce a return"),
        _can_come_back,
        goods.announce,
        AnnounceForm,
        noted=goods.pieces,
    ),
    "edit": Verb(
        gettext_lazy("Edit"), lambda order: not order.was_erased, _edit, EditForm, noted=_fields
    ),
    "note": Verb(
        gettext_lazy("Write a note"),
        lambda order: not order.was_erased,
        _note,
        NoteForm,
        noted=lambda order, entered: {},
        at_any_version=True,
    ),
    "cancel": Verb(
        gettext_lazy("Cancel the order"),
        lambda order: not order.has_ended,
        _cancel,
        CancelForm,
        is_dangerous=True,
    ),
    "erase": Verb(
        gettext_lazy("Erase the customer"),
        _can_be_forgotten,
        _erase,
        is_dangerous=True,
        is_about_person=True,
    ),
    "unship": Verb(
        gettext_lazy("It was not sent"),
        lambda parcel: parcel.cancelled_at is None,
        goods.unship,
        parts=lambda order: order.fulfilments.all(),
        is_dangerous=True,
    ),
    "receive": Verb(
        gettext_lazy("It has arrived"),
        lambda return_: return_.state == ReturnState.ANNOUNCED,
        goods.receive,
        ReceiveForm,
        noted=goods.pieces,
        parts=lambda order: order.returns.all(),
    ),
    "cancel_return": Verb(
        gettext_lazy("It does not come back"),
        lambda return_: return_.state == ReturnState.ANNOUNCED,
        goods.cancel_return,
        parts=lambda order: order.returns.all(),
        is_dangerous=True,
    ),
    "retry": Verb(gettext_lazy("Try it again"), lambda job: True, _retry, parts=_dead_jobs),
}

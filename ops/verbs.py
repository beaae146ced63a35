"""What staff can do to an order: each verb is rehearsed before it is done, so that its page says in
figures what it comes to, and leaves a row of who did it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from notifications import events
from notifications.models import Delivery
from ops.models import StaffAction
from orders.models import Asked, Order, Refund
from orders.tasks import give_back, go_on
from values import money
from values.refused import invalid

Said = Mapping[str, Any]
STANDING = ("version", "state", "payment_state", "captured", "refunded", "refund_pending", "held")


class Overtaken(Exception):
    """The order is not any more as the page showed it."""


class Nothing(forms.Form):
    """A verb that needs no more than a yes."""


class HoldForm(forms.Form):
    reason = forms.ChoiceField(
        label=gettext_lazy("Why"),
        choices=[
            ("requested", gettext_lazy("Somebody asked for it")),
            ("address_unclear", gettext_lazy("The address is unclear (the customer is told)")),
            ("delayed", gettext_lazy("It takes longer (the customer is told)")),
        ],
    )


class CancelForm(forms.Form):
    reason = forms.ChoiceField(
        label=gettext_lazy("Why"),
        choices=[
            ("requested_by_customer", gettext_lazy("The customer asked for it")),
            ("staff", gettext_lazy("The shop's own decision")),
        ],
    )


class RefundForm(forms.Form):
    amount = forms.CharField(
        label=gettext_lazy("Amount, or nothing for all that is left"), required=False, max_length=20
    )


@dataclass(frozen=True)
class Verb:
    word: Promise
    may: Callable[[Order], bool]
    do: Callable[[Order, Said], None]
    form: type[forms.Form] = Nothing
    is_dangerous: bool = False


def _hold(order: Order, said: Said) -> None:
    order.hold(said["reason"])


def _release(order: Order, said: Said) -> None:
    order.release()
    go_on(order)


def _refund(order: Order, said: Said) -> None:
    amount = None
    if said["amount"]:
        try:
            amount = money.read(said["amount"], order.currency)
        except ValueError as exc:
            raise invalid(("/amount", str(exc))) from None
        if amount <= 0:
            raise invalid(("/amount", "must be more than 0"))
    give_back(Refund.objects.promise(order, Asked(amount), reason="staff"))


def _cancel(order: Order, said: Said) -> None:
    give_back(order.cancel(said["reason"]))


VERBS: dict[str, Verb] = {
    "release": Verb(gettext_lazy("Release"), lambda order: order.held, _release),
    "hold": Verb(
        gettext_lazy("Put on hold"),
        lambda order: not (order.held or order.has_ended),
        _hold,
        HoldForm,
    ),
    "refund": Verb(
        gettext_lazy("Give money back"), lambda order: order.refundable > 0, _refund, RefundForm
    ),
    "cancel": Verb(
        gettext_lazy("Cancel the order"),
        lambda order: not order.has_ended,
        _cancel,
        CancelForm,
        is_dangerous=True,
    ),
}


@dataclass(frozen=True)
class Outcome:
    """How an order stood and how it stands then, and who is told of it."""

    before: dict[str, Any]
    after: dict[str, Any]
    told: list[Delivery]

    @property
    def paid_back(self) -> int:
        """Minor units that are promised back by it."""
        back = "refunded", "refund_pending"
        return sum(self.after[name] - self.before[name] for name in back)


def standing(order: Order) -> dict[str, Any]:
    """What a verb may change: JSON, amounts in minor units."""
    shown = {name: getattr(order, name) for name in STANDING}
    return shown | {"to_send": sum(units for _line, units in order.open_units)}


def rehearse(order_id: UUID, verb: Verb, said: Said) -> Outcome:
    """What it would come to now: it is done, looked at and rolled back. Raises Overtaken when the
    order is beyond it, and Refused.
    """
    with transaction.atomic():
        outcome = _done(Order.objects.locked(order_id), verb, said)
        transaction.set_rollback(True)
    return outcome


def perform(order_id: UUID, slug: str, said: Said, *, version: str, by: AbstractBaseUser) -> None:
    """Do it to the order of that version. Raises Overtaken when somebody or something was faster,
    and Refused.
    """
    with transaction.atomic():
        order = Order.objects.locked(order_id)
        if version != str(order.version):
            raise Overtaken
        outcome = _done(order, VERBS[slug], said)
        StaffAction.objects.create(
            user=by.pk,
            who=by.get_username(),
            verb=slug,
            subject=order_id,
            said=dict(said),
            before=outcome.before,
            after=outcome.after,
        )


def _done(order: Order, verb: Verb, said: Said) -> Outcome:
    before = standing(order)
    if not verb.may(order):
        raise Overtaken
    verb.do(order, said)
    order.refresh_from_db()
    news = events.timeline(order.pk, after=before["version"])
    told = Delivery.objects.filter(event__in=news).select_related("endpoint", "event")
    return Outcome(before, standing(order), list(told.order_by("channel", "pk")))

"""The forms with which staff look for deliveries, have a range of them sent again, or list an
address.
"""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from celery_ledger import asked
from notifications.models import Delivery, Endpoint
from ops.orders.forms.verb import LineField
from ops.templatetags.words import DELIVERY_WORDS
from ops.told.finding import ALL_KINDS, Search
from orders.models import Client
from values.addresses import mailbox
from values.ids import uuid_in
from values.shop import EMAIL_MAX_CHARS

REASON_MAX_CHARS = 200
FIRST = datetime(1970, 1, 1, tzinfo=UTC)  # no id is older
FAILED, EVERYTHING = "failed", "everything"


def _words(names: list[str]) -> list[tuple[str, Any]]:
    return [("", gettext_lazy("all")), *((name, DELIVERY_WORDS[name]) for name in names)]


class MomentField(forms.CharField):
    """A length of time before now, a date, or a date and a time; or nothing, which is None."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=40, **options)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return max(asked.since(text), FIRST) if text else None
        except asked.Misunderstood:
            message = _(
                "Write how long ago (30m, 2h, 7d), a date like 2026-11-30, or date and time."
            )
            raise forms.ValidationError(message) from None


class FindForm(forms.Form):
    """The filter of the list of deliveries. Its fields are parameters of the page's address."""

    channel = forms.ChoiceField(
        label=gettext_lazy("Channel"), required=False, choices=_words(Delivery.Channel.values)
    )
    state = forms.ChoiceField(
        label=gettext_lazy("State"), required=False, choices=_words(Delivery.State.values)
    )
    kind = forms.ChoiceField(
        label=gettext_lazy("Event"),
        required=False,
        choices=[("", gettext_lazy("all")), *((kind, kind) for kind in ALL_KINDS)],
    )
    target = LineField(
        label=gettext_lazy("To: a mail address, or an endpoint's address or id"),
        required=False,
        max_length=2000,
    )
    client = LineField(
        label=gettext_lazy("Client"),
        required=False,
        max_length=settings.OPS_TERM_MAX,
        widget=forms.TextInput({"list": "clients"}),
    )
    since = MomentField(label=gettext_lazy("Since (2h, 7d, 2026-11-30)"), required=False)

    def clean_target(self) -> dict[str, Any]:
        """The field `endpoint` or `address` of a Search, with its value."""
        text = self.cleaned_data["target"]
        if not text:
            return {}
        if id_ := uuid_in(text):
            return {"endpoint": id_}
        if "://" not in text and "@" in text:
            return {"address": text}
        ids = list(Endpoint.objects.filter(url=text).values_list("pk", flat=True)[:2])
        if not ids:
            raise forms.ValidationError(_("No endpoint is there, and it is no mail address."))
        if len(ids) > 1:
            raise forms.ValidationError(_("Several endpoints are there; name one by its id."))
        return {"endpoint": ids[0]}

    def clean_client(self) -> Any:
        name = self.cleaned_data["client"]
        client = Client.objects.filter(name=name).first() if name else None
        if name and not client:
            raise forms.ValidationError(_("No client is called so."))
        return client and client.pk

    @property
    def search(self) -> Search:
        cleaned = dict(self.cleaned_data)
        return Search(**cleaned.pop("target"), **cleaned)


class AddressForm(forms.Form):
    """An address that nothing is mailed to from now on, and why."""

    address = LineField(label=gettext_lazy("Mail address"), max_length=EMAIL_MAX_CHARS)
    reason = LineField(
        label=gettext_lazy("Why (no names: it is kept)"), max_length=REASON_MAX_CHARS
    )

    def clean_address(self) -> str:
        try:
            return mailbox(self.cleaned_data["address"])
        except ValueError:
            raise forms.ValidationError(_("No mail can go to this address.")) from None


class ReasonForm(forms.Form):
    """Why it is mailed again."""

    reason = LineField(
        label=gettext_lazy("Why (no names: it is kept)"), max_length=REASON_MAX_CHARS
    )


class RangeForm(forms.Form):
    """Which deliveries of a time are sent again: those given up, or all that have ended."""

    since = MomentField(label=gettext_lazy("Since (2h, 7d, 2026-11-30)"), initial="1d")
    until = MomentField(label=gettext_lazy("Until (nothing: now)"), required=False)
    what = forms.ChoiceField(
        label=gettext_lazy("Which"),
        choices=[
            (FAILED, gettext_lazy("what was given up")),
            (EVERYTHING, gettext_lazy("everything, also what has arrived")),
        ],
    )
